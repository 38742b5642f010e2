//! The process that looks after one database: everything that falls due there, and the processes that do SQL tasks.

use std::cmp::{max, min};
use std::time::{self, Duration};

use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::http::Requests;
use super::{Child, TYPE, process};
use crate::engine::lanes::{self, Open, Waiting};
use crate::engine::upkeep::{self, Part};
use crate::model::Executor;
use crate::settings;
use crate::statements;
use crate::store::transaction::{self, Failure};
use crate::store::{Instant, Session, door, has_extension, lock};

statements! {
    END_ORPHANED_LEASES = "end_orphaned_leases.sql",
}

/// The longest sleep, in seconds. What is due sooner either is known or wakes the process; this bounds how late it
/// notices a lease that a worker did not keep.
const LONGEST_SLEEP: f64 = 5.0;
/// The time between two looks, however often the process is woken.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// When what could not be had is tried again, in seconds: a run's lock that someone else held.
const PAUSE_WHEN_HELD: f64 = 0.02;
/// The time between two looks at the same part of the upkeep, in seconds.
const PAUSE_OF_PARTS: f64 = 0.05;
/// When what went wrong is tried again, in seconds.
const PAUSE_AFTER_FAILURE: f64 = 1.0;
/// How often it looks for what may be there soon.
const LOOKS: u32 = 100;

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgflow_main(database: pg_sys::Datum) {
    process::take_signals();
    // SAFETY: the argument is what `main_of` made of it.
    let Some(database) = (unsafe { pg_sys::Oid::from_datum(database, false) }) else {
        return;
    };
    process::connect(Some(database));
    super::end_children_at_exit();
    let is_patient = pgrx::bgworkers::BackgroundWorker::get_extra() == super::PATIENT;
    wait_for_extension(is_patient);
    if !is_the_only_one(!is_patient) {
        return;
    }
    let mut looks: Vec<Look> = upkeep::PARTS.iter().map(Look::new).collect();
    let mut queues_not_before = Instant::MINUS_INFINITY;
    let mut helpers = Helpers::default();
    let mut requests = Requests::new();
    let mut is_woken = true;
    loop {
        if process::heed_signals() {
            requests.configure();
        }
        // Whoever could not look goes on, and looks again.
        if !extension_is_there().unwrap_or(true) {
            return;
        }
        let mut next = Instant::now().plus_seconds(if helpers.look_after(database) {
            LONGEST_SLEEP
        } else {
            PAUSE_AFTER_FAILURE
        });
        if queues_not_before <= Instant::now() {
            queues_not_before = Instant::MINUS_INFINITY;
            match look_after_queues(&mut requests) {
                Ok(due) => next = min(next, due),
                Err(failure) => {
                    log!("pgflow main: queues: {failure}");
                    queues_not_before = Instant::now().plus_seconds(PAUSE_AFTER_FAILURE);
                }
            }
        }
        next = max(next, queues_not_before);
        for look in &mut looks {
            next = min(next, look.take(is_woken));
        }
        process::report(None);
        // Not on the latch: whoever is woken for every transaction of a busy server looks for many of them at once.
        std::thread::sleep(SHORTEST_PAUSE);
        is_woken = process::sleep_until(next, requests.file());
    }
}

/// Sees to what is due in each queue. Returns when the next is due.
fn look_after_queues(requests: &mut Requests) -> Result<Instant, Failure> {
    let open = act("looking for what is due", |_| lanes::open())?;
    let room = requests.look_after(&open);
    let mut has_more_children = false;
    for lane in open.iter().filter(|open| open.has_children_to_start()) {
        let started = act("starting child runs", |session| {
            upkeep::start_children(session, lane.lane())
        });
        match started {
            Ok(has_more) => has_more_children |= has_more,
            Err(failure) => log!(
                "pgflow main: child runs of queue \"{}\": {failure}",
                lane.queue
            ),
        }
    }
    let (due, next) = upkeep::due(open, Instant::now());
    let mut next = min(next, room);
    if has_more_children {
        next = min(next, Instant::now());
    }
    for open in &due {
        let sweep = act(&format!("queue {}", open.queue), |session| {
            if gives_turns(open) {
                // What a crash takes back is due again, and those who do it wait for nothing here.
                process::commit_without_waiting();
            }
            upkeep::sweep(session, open.lane())
        });
        if let Err(failure) = sweep {
            log!("pgflow main: queue \"{}\": {failure}", open.queue);
            next = min(next, Instant::now().plus_seconds(PAUSE_AFTER_FAILURE));
        } else {
            next = min(next, Instant::now().plus_seconds(PAUSE_WHEN_HELD));
        }
    }
    Ok(next)
}

/// Whether a sweep of the lane does no more than make due tasks ready, and hands none of them on.
fn gives_turns(open: &Open) -> bool {
    matches!(open.waiting, Waiting::Delayed(_)) && open.executor != Executor::Http
}

/// A transaction of its own, shown as what the process does.
pub fn act<T>(
    activity: &str,
    work: impl FnOnce(&Session) -> crate::error::Result<T>,
) -> Result<T, Failure> {
    process::report(Some(activity));
    transaction::run(|| door::act(work))
}

/// A part of the upkeep, and when it is done again.
struct Look {
    part: &'static Part,
    /// When it said that it is due.
    due: Instant,
    /// Not sooner, however often the process is woken.
    not_before: Instant,
    /// Whether the process was woken since: something may be due that it did not know of.
    is_called: bool,
}

impl Look {
    fn new(part: &'static Part) -> Self {
        Self {
            part,
            due: Instant::MINUS_INFINITY,
            not_before: Instant::MINUS_INFINITY,
            is_called: false,
        }
    }

    /// Does the part if it is time to, and returns when it is the next time.
    fn take(&mut self, is_woken: bool) -> Instant {
        self.is_called |= is_woken;
        let now = Instant::now();
        let at = if self.is_called {
            self.not_before
        } else {
            max(self.due, self.not_before)
        };
        if at > now {
            return at;
        }
        self.is_called = false;
        match act(self.part.name, self.part.run) {
            Ok(next) => {
                // A wake-up can be missed by the blink of an eye.
                let latest = now.plus_seconds(LONGEST_SLEEP);
                self.due = min(next.unwrap_or(latest), latest);
                self.not_before = now.plus_seconds(PAUSE_OF_PARTS);
                if self.due < self.not_before {
                    self.not_before = max(self.due, now.plus_seconds(PAUSE_WHEN_HELD));
                }
            }
            Err(failure) => {
                log!("pgflow main: {}: {failure}", self.part.name);
                self.not_before = now.plus_seconds(PAUSE_AFTER_FAILURE);
                self.due = self.not_before;
            }
        }
        max(self.due, self.not_before)
    }
}

fn extension_is_there() -> Result<bool, Failure> {
    transaction::run(|| Ok(has_extension()))
}

/// A process that `start_background()` began may be there before the transaction that created the extension is over.
fn wait_for_extension(is_patient: bool) {
    if !looks(is_patient, || extension_is_there().unwrap_or(false)) {
        process::exit();
    }
}

/// Whether no other process looks after this database; it is then held to that until it ends. One that a launcher began
/// gives the one of the launcher before it time to end.
fn is_the_only_one(is_patient: bool) -> bool {
    looks(is_patient, || {
        transaction::run(|| Ok(lock::own_database())).unwrap_or(false)
    })
}

/// Looks for something, once or patiently.
fn looks(is_patient: bool, is_there: impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if is_there() {
            return true;
        } else if !is_patient {
            return false;
        }
        process::sleep(Duration::from_millis(100), None);
        process::heed_signals();
    }
    false
}

/// The processes that do SQL tasks.
#[derive(Default)]
struct Helpers {
    /// By their numbers.
    list: Vec<Helper>,
    has_looked: bool,
}

struct Helper {
    child: Option<Child>,
    begun: time::Instant,
}

impl Helpers {
    /// Begins and ends processes until there are as many as the settings say. False if one is to be begun later.
    fn look_after(&mut self, database: pg_sys::Oid) -> bool {
        let wanted = settings::workers_per_database();
        let mut has_lost_one = !std::mem::replace(&mut self.has_looked, true);
        for (number, helper) in self.list.iter_mut().enumerate() {
            if helper.child.as_ref().is_some_and(Child::has_ended) {
                helper.child = None;
                has_lost_one = true;
            }
            let is_missing = helper.child.is_none() && number < wanted;
            if is_missing && helper.begun.elapsed() > Duration::from_secs(1) {
                *helper = Helper::begin(database, number);
            }
        }
        // Those that are too many end by themselves, when they have done what they are at.
        while self.list.len() > wanted && self.list.last().is_some_and(|last| last.child.is_none())
        {
            self.list.pop();
        }
        while self.list.len() < wanted {
            self.list.push(Helper::begin(database, self.list.len()));
        }
        if has_lost_one {
            end_orphaned_leases();
        }
        (self.list.iter().take(wanted)).all(|helper| helper.child.is_some())
    }
}

impl Helper {
    /// Begins the process with this number: it is one too many when there are to be that many, or fewer.
    fn begin(database: pg_sys::Oid, number: usize) -> Self {
        let builder = BackgroundWorkerBuilder::new("pgflow sql")
            .set_type(TYPE)
            .set_library("pgflow")
            .set_function("pgflow_sql")
            .set_argument(database.into_datum())
            .set_extra(&format!("{} {number}", process::pid()))
            .enable_spi_access()
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(None);
        Self {
            child: Child::begin(builder),
            begun: time::Instant::now(),
        }
    }
}

/// Tasks that a background worker had when it died are nobody's: their leases end now.
fn end_orphaned_leases() {
    let ended = act("leases of processes that are gone", |session| {
        END_ORPHANED_LEASES.execute(&[&session.now, &super::WORKER_ID])
    });
    if let Err(failure) = ended {
        log!("pgflow main: leases of processes that are gone: {failure}");
    }
}
