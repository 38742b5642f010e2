//! The handle, and the thread that it stands for.
//!
//! The thread runs everything in an event loop of its own. Calls go to it by a channel, answers come back in a list
//! that is guarded by a mutex, and a socket becomes readable when the list is no longer empty: the owner can wait for
//! that and for other things at once. Whatever becomes of a call, a panic included, its [`Reply`] answers when it is dropped.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::rustls::ClientConfig;

use super::exchange::Transport;
use super::lanes::Lanes;
use super::network::{Network, System, tls};
use super::request::Request;
use super::{Answer, Call, Settings};

/// Threads that look up names; each is busy for as long as the system's resolver takes.
const RESOLVERS: usize = 16;

/// Makes calls. Dropping it gives up all that are under way, at once.
pub struct Client {
    network: Arc<dyn Network>,
    tls: Arc<ClientConfig>,
    transport: Arc<Transport>,
    answers: Arc<Answers>,
    readable: UnixStream,
    events: UnboundedSender<Event>,
    thread: Option<JoinHandle<()>>,
    /// Calls submitted whose answers were not taken yet: all, and by host.
    in_flight: usize,
    by_host: HashMap<Arc<str>, usize>,
}

enum Event {
    Call(Box<Job>),
    Ended(Arc<str>),
    Stop,
}

struct Job {
    request: Request,
    transport: Arc<Transport>,
    reply: Reply,
}

/// Answers that wait to be taken.
struct Answers {
    waiting: Mutex<Waiting>,
}

struct Waiting {
    list: Vec<(u64, Arc<str>, Answer)>,
    writable: UnixStream,
}

impl Client {
    /// Reads the certificates of the system and starts the thread.
    pub fn start(settings: Settings) -> io::Result<Self> {
        Self::start_in(settings, Arc::new(System), tls()?)
    }

    pub(super) fn start_in(
        settings: Settings,
        network: Arc<dyn Network>,
        tls: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let (readable, writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        writable.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS)
            .thread_name("pgflow-http-dns")
            .build()?;
        let (events, received) = unbounded_channel();
        let again = events.clone();
        let thread = without_signals(move || {
            std::thread::Builder::new()
                .name("pgflow-http".to_owned())
                .spawn(move || serve(runtime, received, &again))
        })?;
        let waiting = Mutex::new(Waiting {
            list: Vec::new(),
            writable,
        });
        let transport = Transport::new(settings, Arc::clone(&network), Arc::clone(&tls));
        Ok(Self {
            network,
            tls,
            transport: Arc::new(transport),
            answers: Arc::new(Answers { waiting }),
            readable,
            events,
            thread: Some(thread),
            in_flight: 0,
            by_host: HashMap::new(),
        })
    }

    /// New settings, for calls submitted from now on.
    pub fn configure(&mut self, settings: Settings) {
        let transport = Transport::new(settings, Arc::clone(&self.network), Arc::clone(&self.tls));
        self.transport = Arc::new(transport);
    }

    /// Makes a call, when its host has room; never waits, and never fails: what is wrong with a call is its answer.
    pub fn submit(&mut self, call: Call) {
        let id = call.id;
        let allowed_hosts = &self.transport.settings.allowed_hosts;
        let made = Request::new(call, allowed_hosts);
        let host: Arc<str> = match &made {
            Ok(request) => request.target.host.to_string().into(),
            Err(_) => "".into(),
        };
        self.in_flight += 1;
        *self.by_host.entry(Arc::clone(&host)).or_default() += 1;
        let reply = Reply {
            id,
            host,
            answers: Arc::clone(&self.answers),
            answered: false,
        };
        match made {
            Err(answer) => reply.send(answer),
            // Should the thread be no more, the reply comes back here and is dropped.
            Ok(request) => {
                let transport = Arc::clone(&self.transport);
                let job = Job {
                    request,
                    transport,
                    reply,
                };
                drop(self.events.send(Event::Call(Box::new(job))));
            }
        }
    }

    /// Takes the answers that came since the last time; never waits.
    pub fn answers(&mut self) -> Vec<(u64, Answer)> {
        let list = {
            let mut waiting = self
                .answers
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut byte = [0; 8];
            while matches!(self.readable.read(&mut byte), Ok(1..)) {}
            std::mem::take(&mut waiting.list)
        };
        self.in_flight -= list.len();
        list.into_iter()
            .map(|(id, host, answer)| {
                if let Some(calls) = self.by_host.get_mut(&host) {
                    *calls -= 1;
                    if *calls == 0 {
                        self.by_host.remove(&host);
                    }
                }
                (id, answer)
            })
            .collect()
    }

    /// Readable while there are answers to take; closed with the client.
    pub fn wake_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }

    /// How many calls were submitted whose answers were not taken yet.
    #[cfg(test)]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many more calls may be submitted. More are not refused: it is for the caller to keep to it.
    pub fn room(&self) -> usize {
        self.transport
            .settings
            .max_in_flight
            .saturating_sub(self.in_flight)
    }

    /// How many more calls to this host would start at once: see [`super::host_of`].
    pub fn room_for(&self, host: &str) -> usize {
        let at_host = self.by_host.get(host).copied().unwrap_or(0);
        let most = self.transport.settings.max_per_host.max(1);
        most.saturating_sub(at_host).min(self.room())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.events.send(Event::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Runs `start` with all signals blocked: a thread begins with the mask of the one that started it, so that there is no
/// moment at which the new one takes a signal meant for the main thread.
fn without_signals<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

/// The thread.
fn serve(runtime: Runtime, mut events: UnboundedReceiver<Event>, again: &UnboundedSender<Event>) {
    runtime.block_on(async {
        let mut lanes = Lanes::<Box<Job>>::new();
        while let Some(event) = events.recv().await {
            let host = match event {
                Event::Stop => break,
                Event::Ended(host) => {
                    lanes.ended(&host);
                    host
                }
                Event::Call(job) => {
                    let host = Arc::clone(&job.reply.host);
                    lanes.push(Arc::clone(&host), job);
                    host
                }
            };
            while let Some(job) = lanes.next(&host, |job| job.transport.settings.max_per_host) {
                let turn = Turn {
                    host: Arc::clone(&host),
                    events: again.clone(),
                };
                tokio::spawn(async move {
                    let _turn = turn;
                    let Job {
                        request,
                        transport,
                        reply,
                    } = *job;
                    reply.send(transport.exchange(request).await);
                });
            }
        }
    });
    // A look-up cannot be interrupted and need not be waited for.
    runtime.shutdown_background();
}

/// A place among the calls under way at a host; given back however the call ends.
struct Turn {
    host: Arc<str>,
    events: UnboundedSender<Event>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.events.send(Event::Ended(Arc::clone(&self.host))));
    }
}

/// Answers a call exactly once.
struct Reply {
    id: u64,
    host: Arc<str>,
    answers: Arc<Answers>,
    answered: bool,
}

impl Reply {
    fn send(mut self, answer: Answer) {
        self.put(answer);
    }

    fn put(&mut self, answer: Answer) {
        self.answered = true;
        let host = Arc::clone(&self.host);
        let mut waiting = self
            .answers
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One byte for a list, so that the socket never fills.
        if waiting.list.is_empty() {
            // Only a client that is being dropped does not read.
            drop(waiting.writable.write(&[1]));
        }
        waiting.list.push((self.id, host, answer));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            self.put(Answer::lost("the request was given up"));
        }
    }
}
