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
    /// Nothing if it was not looked at closely: it stood like that when it was first seen.
    pub details: Option<Arc<Details>>,
}

impl Standing {
    /// Whether a run is still to begin.
    pub fn is_pending(&self) -> bool {
        &*self.status == "pending"
    }

    /// Whether nothing has happened between the two.
    pub fn is_as(&self, other: &Self) -> bool {
        self.status == other.status
            && self.started == other.started
            && self.finished == other.finished
    }
}

/// A step, and where it comes in the definition: behind those that it depends on. Who does not see the definition has the
/// times alone.
#[derive(Clone, Debug)]
pub struct Step {
    pub index: Option<i32>,
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

/// Something that has happened. What it says is written when it is told: a snapshot serves all who are to be told of it,
/// and texts of their own would pile up for those who are slow to listen.
#[derive(Clone, Debug)]
pub struct Event {
    snapshot: Arc<Snapshot>,
    /// Nothing for the run itself.
    step_slug: Option<Arc<str>>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Started,
    Ended,
}

impl Event {
    fn standing(&self) -> &Standing {
        let step = self
            .step_slug
            .as_ref()
            .and_then(|slug| self.snapshot.steps.get(slug));
        step.map_or(&self.snapshot.run, |step| &step.standing)
    }

    fn status(&self) -> &str {
        match self.kind {
            Kind::Started => "started",
            Kind::Ended => &self.standing().status,
        }
    }

    /// Such as `step:fetch:completed`.
    pub fn name(&self) -> String {
        match &self.step_slug {
            Some(slug) => format!("step:{slug}:{}", self.status()),
            None => format!("run:{}", self.status()),
        }
    }

    /// The message, as JSON.
    pub fn message(&self) -> String {
        let (standing, status) = (self.standing(), self.status());
        let has_ended = self.kind == Kind::Ended;
        let details = standing.details.as_deref().filter(|_| has_ended);
        let about = if self.step_slug.is_some() {
            "step"
        } else {
            "run"
        };
        // What was never looked at closely is to be fetched, as is what was too large.
        let is_cut = has_ended && details.is_none_or(|details| details.is_cut);
        let message = Message {
            event_type: format!("{about}:{status}"),
            run_id: self.snapshot.run_id,
            flow_slug: &self.snapshot.flow_slug,
            step_slug: self.step_slug.as_deref(),
            status,
            started_at: standing.started.as_ref().map(|moment| &*moment.text),
            finished_at: standing
                .finished
                .as_ref()
                .filter(|_| has_ended)
                .map(|moment| &*moment.text),
            error_message: details.and_then(|details| details.error_message.as_deref()),
            skip_reason: details.and_then(|details| details.skip_reason.as_deref()),
            fetch: is_cut.then_some(true),
            output: details.and_then(|details| details.output.as_deref()),
        };
        // Strings and JSON that is already text: it cannot fail.
        serde_json::to_string(&message).unwrap_or_default()
    }
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
        for kind in changes(Some(&self.told.run), &now.run) {
            let at = if kind == Kind::Started {
                i64::MIN
            } else {
                i64::MAX
            };
            happened.push(((at, 0, 0), None, kind));
        }
        for (slug, step) in &now.steps {
            let old = self.told.steps.get(slug).filter(|_| !begins);
            let standing = &step.standing;
            let start = standing
                .started
                .as_ref()
                .map_or(run_began, |moment| moment.micros);
            let end = standing
                .finished
                .as_ref()
                .map_or(start, |moment| moment.micros);
            for kind in changes(old.map(|old| &old.standing), standing) {
                // A clock may have been set back in between.
                let at = if kind == Kind::Started {
                    start
                } else {
                    end.max(start)
                };
                // At one moment a step starts because others have ended: those stand before it in the definition.
                let turn = match (step.index, kind) {
                    (Some(_), Kind::Started) => 0,
                    (None, Kind::Ended) if end > start => 0,
                    (None, Kind::Ended) => 2,
                    _ => 1,
                };
                let key = (at.max(run_began), step.index.unwrap_or_default(), turn);
                happened.push((key, Some(Arc::clone(slug)), kind));
            }
        }
        self.told = Arc::clone(now);
        // What has one time, index and turn keeps its order.
        happened.sort_by_key(|(key, ..)| *key);
        let event = |(_, step_slug, kind)| Event {
            snapshot: Arc::clone(now),
            step_slug,
            kind,
        };
        happened.into_iter().map(event).collect()
    }
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

#[cfg(test)]
mod tests;
