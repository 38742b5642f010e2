//! How a run stands, and what to tell of the way from one standing to the next. Nothing here asks or waits.
//!
//! The tables say for each step when it started and ended, so the difference between two looks is known also when several
//! things have happened in between. What has been undone meanwhile is not told: a run that failed, was retried and failed
//! again is told of as started and failed once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A time, to compare and to tell.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Microseconds since 1970.
    pub micros: i64,
    pub text: Arc<str>,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.micros == other.micros
    }
}

/// What a message says beyond status and times.
#[derive(Debug, Default)]
pub struct Details {
    pub output: Option<Box<RawValue>>,
    pub error_message: Option<String>,
    pub skip_reason: Option<String>,
    /// There is more than fits.
    pub is_cut: bool,
}

/// How a run or a step stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub status: Arc<str>,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
    /// A map over nothing, a run without steps: it was over at once, and never `started`.
    pub is_empty: bool,
    /// Known of what has changed since it was first seen.
    pub details: Option<Arc<Details>>,
}

impl Standing {
    fn is_pending(&self) -> bool {
        &*self.status == "pending"
    }

    /// Whether nothing has happened between the two.
    pub fn is_as(&self, other: &Self) -> bool {
        self.status == other.status
            && self.started == other.started
            && self.finished == other.finished
    }
}

/// A step, and where it comes in the definition: behind those that it depends on.
#[derive(Clone, Debug)]
pub struct Step {
    pub index: i32,
    pub standing: Standing,
}

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub run_id: Uuid,
    pub flow_slug: Arc<str>,
    pub run: Standing,
    pub steps: BTreeMap<Arc<str>, Step>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Such as `step:fetch:completed`.
    pub name: String,
    /// The message, as JSON.
    pub message: String,
}

/// A message, as the extension itself sends it; docs/realtime.md describes the fields.
#[derive(Serialize)]
struct Message<'a> {
    event_type: String,
    run_id: Uuid,
    flow_slug: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_slug: Option<&'a str>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
}

/// What one watcher has been told.
pub struct Teller {
    told: Arc<Snapshot>,
}

impl Teller {
    /// The watcher knows this, or reads it itself.
    pub fn new(told: Arc<Snapshot>) -> Self {
        Self { told }
    }

    /// What has happened since the watcher was told last, in an order in which it can have happened: a step after those
    /// that it depends on, the end of the run last.
    pub fn tell(&mut self, now: &Arc<Snapshot>) -> Vec<Event> {
        // Nothing is told of a run that has not begun, then all of it, though steps may have begun before it.
        if now.run.is_pending() {
            return Vec::new();
        }
        let begins = self.told.run.is_pending();
        let run_began = now
            .run
            .started
            .as_ref()
            .map_or(i64::MIN, |began| began.micros);
        let mut happened = Vec::new();
        let mut note =
            |slug: Option<&Arc<str>>, index: i32, old: Option<&Standing>, new: &Standing| {
                for kind in changes(old, new) {
                    let (at, status) = match kind {
                        Kind::Started => (new.started.as_ref(), "started"),
                        Kind::Ended => (new.finished.as_ref(), &*new.status),
                    };
                    // Steps may begin in a run that is still to begin.
                    let at = at.map_or(run_began, |at| at.micros.max(run_began));
                    let key = match (slug, kind) {
                        (None, Kind::Started) => (i64::MIN, index, kind),
                        (None, Kind::Ended) => (i64::MAX, index, kind),
                        (Some(_), _) => (at, index, kind),
                    };
                    happened.push((key, event(now, slug.map(|slug| &**slug), status, kind, new)));
                }
            };
        note(None, -1, Some(&self.told.run), &now.run);
        for (slug, step) in &now.steps {
            let old = self
                .told
                .steps
                .get(slug)
                .map(|old| &old.standing)
                .filter(|_| !begins);
            note(Some(slug), step.index, old, &step.standing);
        }
        self.told = Arc::clone(now);
        // What has one time, index and kind keeps its order.
        happened.sort_by_key(|(key, _)| *key);
        happened.into_iter().map(|(_, event)| event).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Started,
    Ended,
}

/// What lies between two standings.
fn changes(old: Option<&Standing>, new: &Standing) -> Vec<Kind> {
    if old.is_some_and(|old| old.is_as(new)) {
        return Vec::new();
    }
    let has_started = new.started.is_some() && !new.is_empty;
    let knows_start = old.is_some_and(|old| old.finished.is_none() && old.started == new.started);
    let mut kinds = Vec::new();
    if has_started && !knows_start {
        kinds.push(Kind::Started);
    }
    if new.finished.is_some() {
        kinds.push(Kind::Ended);
    }
    kinds
}

fn event(
    snapshot: &Snapshot,
    step_slug: Option<&str>,
    status: &str,
    kind: Kind,
    standing: &Standing,
) -> Event {
    let has_ended = kind == Kind::Ended;
    let details = standing.details.as_deref().filter(|_| has_ended);
    let about = if step_slug.is_some() { "step" } else { "run" };
    let message = Message {
        event_type: format!("{about}:{status}"),
        run_id: snapshot.run_id,
        flow_slug: &snapshot.flow_slug,
        step_slug,
        status,
        started_at: standing.started.as_ref().map(|moment| &*moment.text),
        finished_at: standing
            .finished
            .as_ref()
            .filter(|_| has_ended)
            .map(|moment| &*moment.text),
        error_message: details.and_then(|details| details.error_message.as_deref()),
        skip_reason: details.and_then(|details| details.skip_reason.as_deref()),
        fetch: details.filter(|details| details.is_cut).map(|_| true),
        output: details.and_then(|details| details.output.as_deref()),
    };
    let name = match step_slug {
        Some(slug) => format!("step:{slug}:{status}"),
        None => format!("run:{status}"),
    };
    // Strings and JSON that is already text: it cannot fail.
    Event {
        name,
        message: serde_json::to_string(&message).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
