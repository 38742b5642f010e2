//! What the changes of a definition have in common: the lock, the owner, and the opening of a version.
//!
//! ```text
//! version   open ──first run──► frozen ──next change──► the next version, open
//!            └──change──► open, with a new definition_id
//! ```
//!
//! The row of the flow is locked first and makes its definers take turns, so what one of them reads holds until it
//! writes. A run does not take part in that: it freezes the row of its version. So a change in place begins with an update
//! of that row, which waits for a first run under way and finds nothing when that run has frozen it; the change then goes
//! on as one of a frozen version, by the next one. Under REPEATABLE READ the update is refused with 40001 instead.

use rand::Rng;

use super::rights;
use crate::error::{Error, Result, quoted};
use crate::model::problem::{Fault, Problem, Problems};
use crate::model::shape::{Options, StepShape};
use crate::statements;
use crate::store::{Json, Row, Session, role};

statements! {
    LOCK_FLOW = "lock_flow.sql",
    FLOW_OWNER = "flow_owner.sql",
    INSERT_FLOW = "insert_flow.sql",
    UPDATE_FLOW = "update_flow.sql",
    VERSION_OPTIONS = "version_options.sql",
    INSERT_VERSION = "insert_version.sql",
    CHANGE_VERSION = "change_version.sql",
    COPY_STEPS = "copy_steps.sql",
    COPY_DEPS = "copy_deps.sql",
    PUT_STEPS = "put_steps.sql",
    INSERT_DEPS = "insert_deps.sql",
    JSON_TEXT = "json_text.sql",
}

/// A flow whose row is locked until the transaction ends, by someone who may change it.
pub struct Flow {
    pub slug: String,
    /// The latest.
    pub version: i32,
    pub description: Option<String>,
}

/// Where a change is to be written.
pub enum Opened {
    /// Into this version, which keeps its steps.
    InPlace(i32),
    /// Into this new version, which has no steps yet.
    Next(i32),
}

/// Locks a flow. `None` when there is no such flow; an error when it belongs to others.
pub fn lock(session: &Session, flow_slug: &str) -> Result<Option<Flow>> {
    lock_if(flow_slug, |owner| demand(session, flow_slug, owner))
}

fn lock_if(flow_slug: &str, check: impl FnOnce(&str) -> Result<()>) -> Result<Option<Flow>> {
    let found = LOCK_FLOW.first(&[&flow_slug], |row| {
        let flow = Flow {
            slug: flow_slug.to_owned(),
            version: row.get(1)?,
            description: row.opt(3),
        };
        Ok((flow, row.get::<String>(2)?))
    })?;
    let Some((flow, owner)) = found else {
        return Ok(None);
    };
    check(&owner)?;
    Ok(Some(flow))
}

/// Locks a flow for what operators do with the flows of others too: its definition stays as it is.
pub fn lock_to_look_after(session: &Session, flow_slug: &str) -> Result<Flow> {
    let is_operator = rights::is_operator(session)?;
    lock_if(flow_slug, |owner| match is_operator {
        true => Ok(()),
        false => demand(session, flow_slug, owner),
    })?
    .ok_or_else(|| Error::flow_not_found(flow_slug))
}

/// Refuses callers who may not change the flow, without locking it.
pub fn check_owner(session: &Session, flow_slug: &str) -> Result<()> {
    demand(session, flow_slug, &owner(flow_slug)?)
}

/// The role that a flow belongs to.
pub fn owner(flow_slug: &str) -> Result<String> {
    FLOW_OWNER
        .first(&[&flow_slug], |row| row.get::<String>(1))?
        .ok_or_else(|| Error::flow_not_found(flow_slug))
}

fn demand(session: &Session, flow_slug: &str, owner: &str) -> Result<()> {
    if role::acts_as(session.caller, owner)? {
        return Ok(());
    }
    Err(Error::Denied {
        object: format!("flow {}", quoted(flow_slug)),
        detail: format!("The flow belongs to role {}.", quoted(owner)),
    })
}

pub fn lock_existing(session: &Session, flow_slug: &str) -> Result<Flow> {
    lock(session, flow_slug)?.ok_or_else(|| Error::flow_not_found(flow_slug))
}

/// Locks a flow, or makes version 1 of it, without steps: then `None`.
pub fn lock_or_make(
    session: &Session,
    flow_slug: &str,
    description: Option<&str>,
    options: &Options,
) -> Result<Option<Flow>> {
    loop {
        if let Some(flow) = lock(session, flow_slug)? {
            return Ok(Some(flow));
        }
        let owner = role::name(session.caller);
        let made = INSERT_FLOW.first(&[&flow_slug, &owner, &description, &session.now], |row| {
            row.get::<i32>(1)
        })?;
        if let Some(version) = made {
            insert_version(session, flow_slug, version, options)?;
            return Ok(None);
        }
        // Someone else made it meanwhile. It is found in the next round, unless it is deleted before.
    }
}

/// The options of the latest version.
pub fn options(flow: &Flow) -> Result<Options> {
    VERSION_OPTIONS
        .first(&[&flow.slug, &flow.version], |row| {
            Ok(Options {
                max_attempts: row.get(1)?,
                base_delay: row.get(2)?,
                timeout: row.get(3)?,
                max_delay: row.get(4)?,
                output_step_slug: row.opt(5),
                executor: row.get(6)?,
                target: row.opt(7),
                run_timeout: row.opt(8),
            })
        })?
        .ok_or_else(|| Error::Internal(format!("flow \"{}\" lacks its latest version", flow.slug)))
}

/// Opens the latest version for a change, or the next one when a run has seen it, and gives it these options.
pub fn open(session: &Session, flow: &Flow, options: &Options) -> Result<Opened> {
    let in_place = CHANGE_VERSION.first(
        &[
            &flow.slug,
            &flow.version,
            &new_definition_id(),
            &options.max_attempts,
            &options.base_delay,
            &options.timeout,
            &options.max_delay,
            &options.output_step_slug,
            &options.executor,
            &options.target,
            &options.run_timeout,
        ],
        |row| row.get(1),
    )?;
    if let Some(version) = in_place {
        return Ok(Opened::InPlace(version));
    }
    let next = flow.version + 1;
    insert_version(session, &flow.slug, next, options)?;
    Ok(Opened::Next(next))
}

/// [`open`] for a change that leaves most of the steps as they are: a next version begins with all of them.
pub fn open_with_steps(session: &Session, flow: &Flow, options: &Options) -> Result<i32> {
    match open(session, flow, options)? {
        Opened::InPlace(version) => Ok(version),
        Opened::Next(version) => {
            COPY_STEPS.execute(&[&flow.slug, &flow.version, &version, &session.now])?;
            COPY_DEPS.execute(&[&flow.slug, &flow.version, &version])?;
            Ok(version)
        }
    }
}

/// Ends every change: the latest version, the description and the time of the change.
pub fn touch(
    session: &Session,
    flow: &Flow,
    version: i32,
    description: Option<&str>,
) -> Result<()> {
    UPDATE_FLOW.execute(&[&flow.slug, &version, &description, &session.now])
}

fn insert_version(
    session: &Session,
    flow_slug: &str,
    version: i32,
    options: &Options,
) -> Result<()> {
    INSERT_VERSION.execute(&[
        &flow_slug,
        &version,
        &new_definition_id(),
        &options.max_attempts,
        &options.base_delay,
        &options.timeout,
        &options.max_delay,
        &options.output_step_slug,
        &options.executor,
        &options.target,
        &session.now,
        &options.run_timeout,
    ])
}

/// Caches know a definition by this number, and a rollback takes none of them back: so it is drawn, not counted.
fn new_definition_id() -> i64 {
    rand::rng().random_range(1..=i64::MAX)
}

/// Writes steps with their places in the order, without their deps.
pub fn put_steps(
    session: &Session,
    flow_slug: &str,
    version: i32,
    steps: &[(i32, &StepShape)],
) -> Result<()> {
    fn column<'a, T>(steps: &[(i32, &'a StepShape)], value: impl Fn(&'a StepShape) -> T) -> Vec<T> {
        steps.iter().map(|(_, step)| value(step)).collect()
    }
    if steps.is_empty() {
        return Ok(());
    }
    let places: Vec<i32> = steps.iter().map(|(place, _)| *place).collect();
    PUT_STEPS.execute(&[
        &flow_slug,
        &version,
        &session.now,
        &places,
        &column(steps, |s| s.step_slug.as_str()),
        &column(steps, |s| s.step_type.as_str()),
        &column(steps, |s| s.map_over.as_deref()),
        &column(steps, |s| s.executor.as_str()),
        &column(steps, |s| s.target.as_deref()),
        &column(steps, |s| s.queue.as_str()),
        &column(steps, |s| s.start_mode.as_str()),
        &column(steps, |s| s.max_attempts),
        &column(steps, |s| s.base_delay),
        &column(steps, |s| s.timeout),
        &column(steps, |s| s.start_delay),
        &column(steps, |s| s.required_input_pattern.as_deref()),
        &column(steps, |s| s.forbidden_input_pattern.as_deref()),
        &column(steps, |s| s.when_unmet.as_str()),
        &column(steps, |s| s.when_exhausted.as_str()),
    ])
}

/// Writes the edges that lead to steps.
pub fn insert_deps(flow_slug: &str, version: i32, steps: &[StepShape]) -> Result<()> {
    let edges = || {
        steps
            .iter()
            .flat_map(|to| to.deps_slugs.iter().map(move |from| (from, to)))
    };
    let from: Vec<_> = edges().map(|(from, _)| from.as_str()).collect();
    if from.is_empty() {
        return Ok(());
    }
    let to: Vec<_> = edges().map(|(_, to)| to.step_slug.as_str()).collect();
    INSERT_DEPS.execute(&[&flow_slug, &version, &from, &to])
}

/// A step as it is stored.
pub struct StoredStep {
    pub place: i32,
    pub shape: StepShape,
}

impl StoredStep {
    /// Reads a row of `step_shape.sql` or `step_shapes.sql`.
    pub fn read(row: &Row) -> Result<Self> {
        let shape = StepShape {
            step_slug: row.get(1)?,
            deps_slugs: row.get(2)?,
            step_type: row.get(3)?,
            map_over: row.opt(4),
            executor: row.get(5)?,
            target: row.opt(6),
            queue: row.get(7)?,
            start_mode: row.get(8)?,
            max_attempts: row.opt(9),
            base_delay: row.opt(10),
            timeout: row.opt(11),
            start_delay: row.opt(12),
            required_input_pattern: row.opt(13),
            forbidden_input_pattern: row.opt(14),
            when_unmet: row.get(15)?,
            when_exhausted: row.get(16)?,
        };
        Ok(Self {
            place: row.get(17)?,
            shape,
        })
    }
}

/// A `jsonb` value in the words of PostgreSQL.
pub fn json_text(json: Json) -> Result<String> {
    JSON_TEXT
        .first(&[&json], |row| row.get(1))?
        .ok_or_else(|| Error::Internal("a value has no text".into()))
}

/// The problems that a check reports, by the names of the arguments; an error when there are any.
pub fn refuse_arguments(
    check: impl FnOnce(&mut dyn FnMut(&'static str, Option<usize>, Fault)),
) -> Result<()> {
    let mut problems = Vec::new();
    check(&mut |argument, _, fault| problems.push(Problem::new(argument, fault)));
    if problems.is_empty() {
        return Ok(());
    }
    Err(refuse(&Problems(problems)))
}

pub fn refuse(problems: &Problems) -> Error {
    Error::Invalid {
        message: problems.summary(),
        detail: problems.list(),
        hint: Some(problems.hints()),
    }
}
