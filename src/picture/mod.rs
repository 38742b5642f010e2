//! Pictures of flows and runs, in plain Rust: no PostgreSQL, no SQL, no clock.
//!
//! A [`Picture`] says what there is to see. [`svg`] draws it in layers, each step below all its deps: [`group`] puts
//! steps that nothing tells apart into one box, [`layers`] says how deep each box stands and which wires lead past it,
//! [`order`] in which order boxes and wires stand side by side, [`place`] where exactly; [`layout`] puts these together.
//! What is too large for that is drawn by [`overview`], a mark for each step. [`mermaid`] writes the picture as text for
//! renderers of Mermaid.
//!
//! The same picture is always drawn the same way. The time it takes is bounded: every pass is linear, or nearly so, in
//! what it draws, the number of passes is fixed, and [`Picture::is_large`] says when there is too much to draw.

pub mod group;
pub mod label;
pub mod layers;
pub mod layout;
pub mod mermaid;
pub mod order;
pub mod overview;
pub mod place;
pub mod svg;

#[cfg(test)]
mod tests;

/// The most steps, and deps, that are drawn as a graph.
pub const MOST_STEPS: usize = 2_000;
pub const MOST_DEPS: usize = 20_000;

/// What there is to see.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    pub flow_slug: String,
    pub version: i32,
    pub steps: Vec<Step>,
    /// How many deps the steps have, also those of a large picture, which are not read.
    pub dep_count: usize,
    /// None in the picture of a flow.
    pub run: Option<Run>,
}

/// A run, as far as it belongs to no step.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub run_id: String,
    pub status: Status,
    pub error_message: Option<String>,
    /// How long it has taken, until now if it is under way.
    pub took: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Step {
    pub slug: String,
    pub executor: Executor,
    /// What the executor calls, as far as it is known.
    pub target: Option<String>,
    pub is_map: bool,
    pub is_manual: bool,
    /// Numbers of other steps.
    pub deps: Vec<usize>,
    /// None in the picture of a flow.
    pub state: Option<State>,
}

/// Where a step of a run stands.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub status: Status,
    pub error_message: Option<String>,
    pub skip_reason: Option<String>,
    pub completed_tasks: i64,
    /// None until the tasks exist.
    pub initial_tasks: Option<i64>,
    pub attempts: i64,
    pub failed_attempts: i64,
    pub is_ready: bool,
    /// How long it has taken, in microseconds, until now if it is under way.
    pub took: Option<i64>,
}

/// Where a run or a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    #[default]
    Pending,
    Started,
    Completed,
    Failed,
    Skipped,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Started,
        Self::Pending,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// By its word in the tables.
    pub fn named(word: &str) -> Self {
        (Self::ALL.into_iter())
            .find(|status| status.word() == word)
            .unwrap_or_default()
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who does a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Executor {
    #[default]
    Worker,
    Sql,
    Http,
    Flow,
    External,
    Timer,
}

impl Executor {
    pub const ALL: [Self; 6] = [
        Self::Worker,
        Self::Sql,
        Self::Http,
        Self::Flow,
        Self::External,
        Self::Timer,
    ];

    /// By its word in the tables.
    pub fn named(word: &str) -> Self {
        (Self::ALL.into_iter())
            .find(|executor| executor.word() == word)
            .unwrap_or_default()
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Sql => "sql",
            Self::Http => "http",
            Self::Flow => "flow",
            Self::External => "external",
            Self::Timer => "timer",
        }
    }
}

impl Picture {
    /// Whether there is too much of it to be drawn as a graph. Its deps need not be read then.
    pub fn is_large(&self) -> bool {
        self.steps.len() > MOST_STEPS || self.dep_count > MOST_DEPS
    }

    /// The steps that stand so.
    pub fn count(&self, status: Status) -> usize {
        (self.steps.iter())
            .filter(|step| {
                step.state
                    .as_ref()
                    .is_some_and(|state| state.status == status)
            })
            .count()
    }

    /// In a sentence: what is drawn, and how it stands.
    pub fn sentence(&self) -> String {
        let steps = label::count(self.steps.len() as i64, "step");
        match &self.run {
            None => format!("{steps}, {}", label::count(self.dep_count as i64, "dep")),
            Some(run) => {
                let mut words = vec![match (run.status, run.took) {
                    (Status::Started, Some(took)) => {
                        format!("under way for {}", label::duration(took))
                    }
                    (Status::Pending | Status::Started, _) | (_, None) => {
                        run.status.word().to_owned()
                    }
                    (status, Some(took)) => {
                        format!("{} after {}", status.word(), label::duration(took))
                    }
                }];
                let completed = label::number(self.count(Status::Completed) as i64);
                words.push(format!("{completed} of {steps} completed"));
                for status in [Status::Failed, Status::Skipped, Status::Cancelled] {
                    match self.count(status) {
                        0 => {}
                        count => {
                            words.push(format!("{} {}", label::number(count as i64), status.word()))
                        }
                    }
                }
                let retries = (self.steps.iter())
                    .filter_map(|step| step.state.as_ref())
                    .map(State::retries)
                    .fold(0, i64::saturating_add);
                if retries > 0 {
                    words.push(label::count(retries, "retry"));
                }
                words.join(" · ")
            }
        }
    }
}

impl Step {
    /// What is said about the step below its name.
    pub fn line(&self) -> String {
        match &self.state {
            None => self.definition(),
            Some(state) => state.line(self),
        }
    }

    fn definition(&self) -> String {
        let mut words = Vec::new();
        if self.is_map {
            words.push("map");
        }
        words.push(self.executor.word());
        if self.is_manual {
            words.push("manual");
        }
        let mut line = words.join(" · ");
        if let Some(target) = self.target.as_deref().filter(|target| !target.is_empty()) {
            line.push(' ');
            line.push_str(target);
        }
        line
    }

    /// Why the step did not do what it was there for.
    pub fn error(&self) -> Option<&str> {
        let state = self.state.as_ref()?;
        (state.error_message.as_deref()).filter(|message| !message.trim().is_empty())
    }
}

impl State {
    /// Attempts that began anew what an earlier one did not complete.
    pub fn retries(&self) -> i64 {
        let first = self.initial_tasks.unwrap_or(0).max(0).min(self.attempts);
        (self.attempts - first).min(self.failed_attempts).max(0)
    }

    fn line(&self, step: &Step) -> String {
        let took = self.took.map(label::duration);
        let mut words = vec![match (self.status, took) {
            (Status::Pending, _) if self.is_ready && step.is_manual => "waits to be started".into(),
            (Status::Started, Some(took)) => {
                let waits = matches!(step.executor, Executor::External | Executor::Timer);
                format!("{} {took}", if waits { "waits" } else { "running" })
            }
            (Status::Completed, Some(took)) => format!("completed in {took}"),
            (Status::Failed, Some(took)) => format!("failed after {took}"),
            (Status::Skipped, _) => match self.skip_reason.as_deref() {
                Some(reason) => format!("skipped: {}", reason.replace('_', " ")),
                None => "skipped".into(),
            },
            (status, _) => status.word().to_owned(),
        }];
        if step.is_map
            && let Some(tasks) = self.initial_tasks
            && !matches!(self.status, Status::Pending | Status::Skipped)
        {
            words.push(match self.status {
                Status::Completed => label::count(tasks, "task"),
                _ => format!("{}/{tasks} tasks", self.completed_tasks),
            });
        }
        match self.retries() {
            0 => {}
            retries => words.push(label::count(retries, "retry")),
        }
        words.join(" · ")
    }
}
