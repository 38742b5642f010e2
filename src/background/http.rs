//! The HTTP requests of a database: tasks are claimed and become calls, answers come back and are settled.
//!
//! The calls are made by the thread of [`crate::http`]; this side only hands over and takes back, each in a transaction of
//! its own. The process sleeps on the client's file as well as on its latch.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_int;

use pgrx::prelude::*;

use super::database::act;
use super::process;
use crate::engine::MAX_RUN_LOCKS;
use crate::engine::claimed::{self, Claimed};
use crate::engine::doorbell;
use crate::engine::http_tasks;
use crate::engine::lanes::{Open, Waiting};
use crate::engine::limits;
use crate::engine::settle::{self, Verdict};
use crate::http::{self, Answer, Call, Client};
use crate::model::Executor;
use crate::settings;
use crate::store::Instant;
use crate::store::transaction::Failure;

/// How many answers one transaction settles, and how many tasks one claims.
const BATCH: usize = 200;
/// When a queue that could not be claimed from is tried again, in seconds.
const PAUSE: f64 = 1.0;

thread_local! {
    /// Here, so that the thread ends before the process does.
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
}

pub struct Requests {
    worker_id: String,
    next: u64,
    under_way: HashMap<u64, Claimed>,
    /// Queues of which something was handed back, because its host had no room.
    full: HashSet<String>,
    /// Queues that could not be claimed from, and when that was tried.
    failed: HashMap<String, Instant>,
}

impl Requests {
    pub fn new() -> Self {
        Self {
            worker_id: format!("{}{}", super::WORKER_ID, process::pid()),
            next: 0,
            under_way: HashMap::new(),
            full: HashSet::new(),
            failed: HashMap::new(),
        }
    }

    /// The file that can be read when there are answers.
    pub fn file(&self) -> Option<c_int> {
        CLIENT.with_borrow(|client| client.as_ref().map(Client::wake_fd))
    }

    /// Takes new settings.
    pub fn configure(&self) {
        CLIENT.with_borrow_mut(|client| {
            if let Some(client) = client {
                client.configure(read_settings());
            }
        });
    }

    /// Settles what was answered, and makes calls of what is ready in these queues. Returns when to look again, if what is
    /// ready is held back.
    pub fn look_after(&mut self, lanes: &[Open]) -> Instant {
        let mut next = Instant::INFINITY;
        self.settle_answers();
        for lane in lanes {
            let is_ours = lane.executor == Executor::Http && lane.waiting == Waiting::Ready;
            let failed_at = self.failed.get(&lane.queue).copied();
            let not_before = failed_at.map_or(Instant::MINUS_INFINITY, |at| at.plus_seconds(PAUSE));
            if !is_ours || self.full.contains(&lane.queue) {
                continue;
            } else if not_before > Instant::now() {
                next = next.min(not_before);
                continue;
            }
            self.failed.remove(&lane.queue);
            match self.call_from(lane) {
                Ok(room) => next = next.min(room),
                Err(failure) => {
                    log!("pgflow main: queue \"{}\": {failure}", lane.queue);
                    self.failed.insert(lane.queue.clone(), Instant::now());
                    next = next.min(Instant::now().plus_seconds(PAUSE));
                }
            }
        }
        next
    }

    fn settle_answers(&mut self) {
        let answers = CLIENT
            .with_borrow_mut(|client| client.as_mut().map(Client::answers).unwrap_or_default());
        if answers.is_empty() {
            return;
        }
        self.full.clear();
        let answered: Vec<_> = (answers.into_iter())
            .filter_map(|(id, answer)| Some((self.under_way.remove(&id)?, answer)))
            .collect();
        for batch in answered.chunks(BATCH) {
            if settle(batch).is_ok() {
                continue;
            }
            for one in batch.chunks(1) {
                if let Err(failure) = settle(one) {
                    // Its lease ends, and it is called again.
                    log!(
                        "pgflow main: the answer for run \"{}\" was lost: {failure}",
                        one[0].0.run_id
                    );
                }
            }
        }
    }

    fn call_from(&mut self, lane: &Open) -> Result<Instant, Failure> {
        if doorbell::is_on() {
            return ring_for(lane);
        }
        let room = with_client(|client| client.room())?.min(BATCH);
        let Some(most) = i32::try_from(room).ok().filter(|most| *most > 0) else {
            return Ok(Instant::INFINITY);
        };
        let tasks = act("claiming for HTTP", |session| {
            claimed::claim(
                session,
                lane.lane(),
                most,
                http_tasks::GRACE,
                &self.worker_id,
            )
        })?;
        if tasks.is_empty() {
            let room = act("asking for room", |session| {
                limits::next_room(session, &lane.queue)
            })?;
            return Ok(room.unwrap_or(Instant::INFINITY));
        }
        let next = if tasks.len() == BATCH {
            Instant::now()
        } else {
            Instant::INFINITY
        };
        let mut handed_back = Vec::new();
        for (task, call) in self.requests_for(tasks) {
            let id = call.id;
            if with_client(|client| submit(client, call)).unwrap_or(false) {
                self.under_way.insert(id, task);
            } else {
                handed_back.push(task);
            }
        }
        if handed_back.is_empty() {
            return Ok(next);
        }
        self.full.insert(lane.queue.clone());
        act("handing back what has to wait", |session| {
            claimed::release(session, &handed_back)
        })?;
        Ok(Instant::INFINITY)
    }

    /// Makes the requests for tasks, together or, if one of them cannot be made, each by itself; that task has failed then.
    fn requests_for(&mut self, tasks: Vec<Claimed>) -> Vec<(Claimed, Call)> {
        let first = self.next;
        self.next += tasks.len() as u64;
        let together = act("making requests", |_| {
            (first..)
                .zip(&tasks)
                .map(|(id, task)| http_tasks::call(task, id))
                .collect()
        });
        if let Ok(calls) = together {
            let calls: Vec<Call> = calls;
            return tasks.into_iter().zip(calls).collect();
        }
        let mut requests = Vec::with_capacity(tasks.len());
        for (id, task) in (first..).zip(tasks) {
            match act("making a request", |_| http_tasks::call(&task, id)) {
                Ok(call) => requests.push((task, call)),
                Err(failure) => fail(&task, &failure),
            }
        }
        requests
    }
}

/// Has pg_net call.
fn ring_for(lane: &Open) -> Result<Instant, Failure> {
    let (met, room) = act("ringing", |session| {
        let met = doorbell::ring(session, &lane.queue, MAX_RUN_LOCKS)?;
        Ok((met, limits::next_room(session, &lane.queue)?))
    })?;
    Ok(if met > 0 {
        Instant::now()
    } else {
        room.unwrap_or(Instant::INFINITY)
    })
}

/// Makes a call, unless its host has no room.
fn submit(client: &mut Client, call: Call) -> bool {
    let has_room = http::host_of(&call.url).is_none_or(|host| client.room_for(&host) > 0);
    if has_room {
        client.submit(call);
    }
    has_room
}

fn settle(answered: &[(Claimed, Answer)]) -> Result<(), Failure> {
    act("settling answers", |session| {
        http_tasks::settle(session, answered)
    })
}

/// A task that no request can be made for. If not even that can be written down, its lease ends by itself.
fn fail(task: &Claimed, failure: &Failure) {
    let settlement = task.settlement(Verdict::Fail {
        message: failure.to_string(),
        retryable: true,
        retry_after: None,
    });
    let settled = act("settling", |session| {
        settle::settle(session, &[settlement]).map(drop)
    });
    if let Err(failure) = settled {
        log!("pgflow main: run \"{}\" was left: {failure}", task.run_id);
    }
}

/// Does something with the client, which is started when it is first needed.
fn with_client<T>(work: impl FnOnce(&mut Client) -> T) -> Result<T, Failure> {
    CLIENT.with_borrow_mut(|client| {
        if client.is_none() {
            *client = Some(Client::start(read_settings()).map_err(|error| Failure {
                message: format!("the HTTP client could not be started: {error}"),
                sqlstate: "58000".into(),
                ..Failure::default()
            })?);
            process::at_exit(|| {
                CLIENT
                    .with(|client| client.try_borrow_mut().map(|mut client| client.take()))
                    .ok();
            });
        }
        client.as_mut().map(work).ok_or_else(Failure::default)
    })
}

fn read_settings() -> http::Settings {
    let (settings, problem) = settings::http();
    if let Some(problem) = problem {
        settings::warn_of_hosts(&problem);
    }
    settings
}
