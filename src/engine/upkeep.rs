//! What falls due without anyone asking: leases, timers, delays, and whatever else keeps time.
//!
//! The background worker of a database does each part in a transaction of its own, whenever the part says that it is due.
//! A server without one may call [`run`] from any scheduler it has. Each part does a bounded amount of what is due, waits
//! for nobody, and says when it has something to do next; so it may be called at any time, by several at once, and again
//! after a crash.

use std::cmp::min;

use super::claim;
use super::lanes::{self, Waiting};
use super::walks::Lane;
use super::{MAX_RUN_LOCKS, children, event, events, retention, run_timeouts, schedules};
use crate::error::Result;
use crate::model::Executor;
use crate::store::{Instant, Session};

/// How many tasks of a queue one look settles or moves.
const MOST_TASKS: i32 = 1000;

/// How many children are started for a queue before the next one has its turn.
const MOST_CHILDREN: i32 = 100;

/// A part of the upkeep. It returns when it is due again, by what it knows now.
pub struct Part {
    pub name: &'static str,
    pub run: fn(&Session) -> Result<Option<Instant>>,
}

/// Everything but the queues.
pub const PARTS: &[Part] = &[
    Part {
        name: "errands",
        run: children::sweep,
    },
    Part {
        name: "schedules",
        run: schedules::tick,
    },
    Part {
        name: "run timeouts",
        run: run_timeouts::sweep,
    },
    Part {
        name: "events",
        run: events::sweep,
    },
    Part {
        name: "retention",
        run: retention::sweep,
    },
];

/// How many seconds after it met somebody's lock a part looks again.
const PAUSE: f64 = 0.1;

/// When to look again for what somebody else holds now.
pub fn soon(session: &Session) -> Instant {
    session.now.plus_seconds(PAUSE)
}

/// Settles what fell due in a queue.
pub fn sweep(session: &Session, lane: Lane) -> Result<()> {
    let request = claim::Request {
        lane,
        max_tasks: MOST_TASKS,
        lease_seconds: None,
        grace: 0,
        worker_id: None,
        run_locks: MAX_RUN_LOCKS,
    };
    claim::sweep(session, &request)?;
    event::tasks_ready(lane);
    Ok(())
}

/// Starts the children of flow tasks that are ready in a queue. Returns whether there may be more.
pub fn start_children(session: &Session, lane: Lane) -> Result<bool> {
    Ok(children::start(session, lane.queue, MOST_CHILDREN)? >= MOST_CHILDREN as usize)
}

/// The queues in which something is due by now, and when the next thing is due in the others.
pub fn due(open: Vec<lanes::Open>, now: Instant) -> (Vec<lanes::Open>, Instant) {
    let mut next = Instant::INFINITY;
    let mut due = Vec::new();
    for open in open {
        match open.waiting {
            Waiting::Delayed(at) | Waiting::Started(at) if at > now => next = min(next, at),
            Waiting::Delayed(_) | Waiting::Started(_) => due.push(open),
            Waiting::Ready => {}
        }
    }
    (due, next)
}

/// Does everything that is due, once. Returns when there is something to do next.
pub fn run(session: &Session) -> Result<Option<Instant>> {
    let (due, _) = due(lanes::open()?, session.now);
    for open in &due {
        sweep(session, open.lane())?;
    }
    for open in lanes::open()? {
        if open.has_children_to_start() {
            start_children(session, open.lane())?;
        }
        if open.executor == Executor::Http && open.waiting == Waiting::Ready {
            event::tasks_ready(open.lane());
        }
    }
    let mut next = Instant::INFINITY;
    for part in PARTS {
        next = min(next, (part.run)(session)?.unwrap_or(Instant::INFINITY));
    }
    let open = lanes::open()?;
    let has_children = open.iter().any(lanes::Open::has_children_to_start);
    let (left, later) = self::due(open, session.now);
    let next = if left.is_empty() && !has_children {
        min(next, later)
    } else {
        session.now
    };
    Ok((next < Instant::INFINITY).then_some(next))
}
