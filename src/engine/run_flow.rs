//! Starting runs: `run_flow` and `run_flows`.
//!
//! One path for one run and for fifty thousand. Table `runs` is locked against `delete_flow`, the latest version is
//! read, and frozen if this is its first run; idempotency keys are claimed in their order; then runs, states and the
//! tasks of the roots are inserted, a statement each.

use std::collections::HashMap;
use std::rc::Rc;

use super::advance::{Advance, MovingRun};
use super::start::{self, Places};
use super::{LARGEST_JSON, definitions, run_timeouts};
use super::{aftermath, event};
use crate::error::{Error, Result, quoted};
use crate::model::{Definition, RunId, StepNo, StepType};
use crate::statements;
use crate::store::{Instant, JsonArray, Session, door, lock, role};

statements! {
    CURRENT_VERSION = "current_version.sql",
    FREEZE_VERSION = "freeze_version.sql",
    FIND_BAD_PAYLOAD = "find_bad_payload.sql",
    CLAIM_IDEMPOTENCY_KEYS = "claim_idempotency_keys.sql",
    FIND_IDEMPOTENCY_KEYS = "find_idempotency_keys.sql",
    INSERT_RUNS = "insert_runs.sql",
    INSERT_CHILDREN = "insert_children.sql",
}

/// How many payloads `run_flows` takes.
pub const MAX_PAYLOADS: usize = 100_000;

/// The longest idempotency key and business key, in bytes: both fit into an index.
pub const LONGEST_KEY: usize = 1024;

/// What is asked of `run_flow` and `run_flows`.
pub struct Request<'a> {
    pub flow_slug: &'a str,
    pub payloads: JsonArray,
    /// One for each payload, or none at all.
    pub idempotency_keys: Vec<Option<String>>,
    pub priority: i32,
    pub start_at: Option<Instant>,
    pub key: Option<&'a str>,
    /// Who creates the runs, if not the caller.
    pub creator: Option<Creator>,
    /// The tasks whose children the runs are, one for each payload; they give them their priority, key and creator.
    pub parents: Option<Parents>,
}

/// What `runs.created_by` and `runs.created_for` record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Creator {
    pub created_by: String,
    pub created_for: Option<String>,
}

impl Creator {
    /// The caller, and on whose behalf it calls.
    fn caller(session: &Session) -> Result<Self> {
        Ok(Self {
            created_by: role::name(session.caller),
            created_for: role::created_for()?,
        })
    }
}

/// Tasks as columns.
pub struct Parents {
    pub run_ids: Vec<RunId>,
    pub step_slugs: Vec<String>,
    pub task_indexes: Vec<i32>,
    pub leases: Vec<i64>,
    /// The priorities of their runs.
    pub priorities: Vec<i32>,
    /// How many runs may be locked if children are over as soon as they begin.
    pub run_locks: usize,
}

/// Starts a run for each payload and returns their ids in the same order.
pub fn run_flow(session: &Session, request: &Request) -> Result<Vec<RunId>> {
    check_keys(request)?;
    let count = request.payloads.len();
    lock::share_runs_table()?;
    let Creator {
        created_by,
        created_for,
    } = match &request.creator {
        Some(creator) => creator.clone(),
        None => Creator::caller(session)?,
    };
    let keys = Keys {
        flow_slug: request.flow_slug,
        keys: &request.idempotency_keys,
        created_by: &created_by,
        created_for: created_for.as_deref(),
    };
    let mut ids: Vec<RunId> = (0..count).map(|_| RunId::new()).collect();
    let mut is_new = vec![true; count];
    keys.find(&mut ids, &mut is_new)?;
    if !is_new.contains(&true) {
        // Nothing is started, so nothing is checked or frozen.
        return match (count, current_version(request.flow_slug)?) {
            (0, None) => Err(Error::flow_not_found(request.flow_slug)),
            _ => Ok(ids),
        };
    }
    let definition = latest_definition(session, request.flow_slug)?;
    check_payloads(&definition, request.payloads, &is_new)?;
    keys.claim(&mut ids, &mut is_new)?;

    let not_before = request.start_at.filter(|&start_at| start_at > session.now);
    // Roots that need no further look begin in the row that is inserted; if there are others, all go the general way.
    let is_plain = (definition.steps.iter())
        .filter(|step| step.deps.is_empty())
        .all(|step| step.step_type == StepType::Single && !step.manual && !step.has_condition);
    let at_once = |no: StepNo| is_plain && definition.steps[no].deps.is_empty();
    let slugs: Vec<_> = definition.steps.iter().map(|s| s.slug.as_str()).collect();
    let deps: Vec<_> = (definition.steps.iter())
        .map(|s| i32::try_from(s.deps.len()).unwrap_or(i32::MAX))
        .collect();
    let started: Vec<_> = (0..definition.steps.len()).map(at_once).collect();
    let status = initial_status(&definition, not_before);
    let leaves = i32::try_from(definition.leaves().count()).unwrap_or(i32::MAX);
    match &request.parents {
        None => INSERT_RUNS.execute(&[
            &ids,
            &request.payloads,
            &is_new,
            &request.idempotency_keys,
            &definition.flow_slug,
            &definition.version,
            &definition.id,
            &status,
            &request.priority,
            &request.key,
            &created_by,
            &created_for,
            &request.start_at,
            &session.now,
            &leaves,
            &largest_part(&definition),
            &slugs,
            &deps,
            &started,
        ])?,
        Some(parents) => INSERT_CHILDREN.execute(&[
            &ids,
            &request.payloads,
            &parents.run_ids,
            &parents.step_slugs,
            &parents.task_indexes,
            &parents.leases,
            &definition.flow_slug,
            &definition.version,
            &definition.id,
            &status,
            &session.now,
            &leaves,
            &started,
            &largest_part(&definition),
            &slugs,
            &deps,
        ])?,
    }

    let new_ids = (ids.iter().zip(&is_new)).filter_map(|(&id, is_new)| is_new.then_some(id));
    run_timeouts::put_deadlines(session, &definition, new_ids, not_before)?;

    let mut advance = Advance::new(session);
    let mut singles = Vec::new();
    for (n, &id) in ids.iter().enumerate().filter(|(n, _)| is_new[*n]) {
        let priority = (request.parents.as_ref()).map_or(request.priority, |p| p.priorities[n]);
        let mut run = MovingRun::new(id, Rc::clone(&definition), priority);
        if let Some(start_at) = not_before {
            run = run.pending_until(start_at);
        }
        let run = advance.add(run);
        if status != "pending" {
            event::run_changed(session, &definition.flow_slug, id, status);
        }
        for no in (0..definition.steps.len()).filter(|&no| definition.steps[no].deps.is_empty()) {
            if at_once(no) {
                singles.push((run, no));
            } else {
                advance.step_ready(run, no);
            }
        }
    }
    let places = Places::of(&advance, singles.iter().map(|&step| (step, 1)).collect());
    for &(run, step) in &singles {
        advance.step_started(run, step);
    }
    start::start_singles(&mut advance, &singles, &places)?;
    advance.drive()?;
    if let Some(parents) = &request.parents {
        if definition.steps.is_empty() {
            ids.iter().for_each(|&id| advance.aftermath.child_ended(id));
        }
        aftermath::follow(session, advance.aftermath, &mut { parents.run_locks })?;
    }
    Ok(ids)
}

fn initial_status(definition: &Definition, not_before: Option<Instant>) -> &'static str {
    if definition.steps.is_empty() {
        "completed"
    } else if not_before.is_some() {
        "pending"
    } else {
        "started"
    }
}

/// The size in bytes from which a payload or an output makes its run `large`.
pub fn largest_part(definition: &Definition) -> i64 {
    i64::try_from(LARGEST_JSON / definition.widest).unwrap_or(i64::MAX)
}

/// The latest version of a flow, frozen from now on.
fn latest_definition(session: &Session, flow_slug: &str) -> Result<Rc<Definition>> {
    loop {
        let (version, id, is_frozen) =
            current_version(flow_slug)?.ok_or_else(|| Error::flow_not_found(flow_slug))?;
        // Freezing waits for a change of the version that is under way, and returns what that change made of it.
        let id = if is_frozen {
            Some(id)
        } else {
            FREEZE_VERSION.first(&[&flow_slug, &version, &session.now], |row| row.get(1))?
        };
        // Nothing: another first run froze this version meanwhile, and there may be a later one by now.
        if let Some(id) = id {
            if door::has_fixed_snapshot() && !definitions::still_exists(id, flow_slug, version)? {
                // Deleted by a transaction that this one's snapshot does not see.
                return Err(Error::flow_not_found(flow_slug));
            }
            let definition = definitions::get(id, flow_slug, version)?;
            return match &definition.missing_output_step {
                None => Ok(definition),
                Some(slug) => Err(Error::conflict(
                    "flow has no such output step",
                    format!(
                        "Flow {} names {} as its output step, which it does not have.",
                        quoted(flow_slug),
                        quoted(slug)
                    ),
                )),
            };
        }
    }
}

/// The number and the definition id of the latest version of a flow, and whether it is frozen.
pub fn current_version(flow_slug: &str) -> Result<Option<(i32, i64, bool)>> {
    CURRENT_VERSION.first(&[&flow_slug], |row| {
        Ok((row.get(1)?, row.get(2)?, row.get(3)?))
    })
}

/// Refuses null payloads, and at a root map payloads that are not arrays, among those that start a run.
fn check_payloads(definition: &Definition, payloads: JsonArray, is_new: &[bool]) -> Result<()> {
    let root_map = (definition.steps.iter())
        .find(|step| step.step_type == StepType::Map && step.deps.is_empty());
    let bad = FIND_BAD_PAYLOAD
        .first(&[&payloads, &root_map.is_some(), &is_new.to_vec()], |row| {
            Ok((row.get::<i64>(1)?, row.opt::<String>(2)))
        })?;
    match (bad, root_map) {
        (None, _) => Ok(()),
        (Some((ordinal, None)), _) => Err(Error::invalid_with_hint(
            format!("payload {ordinal} is null"),
            "A payload is a JSON value; JSON null is one.",
        )),
        (Some((_, Some(kind))), root_map) => Err(Error::invalid_with_hint(
            format!("payload is of type \"{kind}\" and not an array"),
            format!(
                "Step {} is a map without deps: it has a task for each element of the payload.",
                quoted(root_map.map_or("", |step| &step.slug))
            ),
        )),
    }
}

fn check_keys(request: &Request) -> Result<()> {
    let keys = (request.idempotency_keys.iter().flatten()).map(|key| ("idempotency_key", &**key));
    for (argument, key) in keys.chain(request.key.map(|key| ("key", key))) {
        check_key(argument, key)?;
    }
    Ok(())
}

/// Refuses what is no idempotency key or business key.
pub fn check_key(argument: &str, key: &str) -> Result<()> {
    if (1..=LONGEST_KEY).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::invalid_with_hint(
        format!("{argument} {} is out of range", quoted(key)),
        format!("A key has 1 to {LONGEST_KEY} bytes."),
    ))
}

/// The idempotency keys of a call, and for whom they hold.
struct Keys<'a> {
    flow_slug: &'a str,
    /// One for each payload, or none at all.
    keys: &'a [Option<String>],
    created_by: &'a str,
    created_for: Option<&'a str>,
}

impl Keys<'_> {
    /// Where a key has a run already, its id takes the place of the new one. Returns the payloads whose key has none.
    fn find(&self, ids: &mut [RunId], is_new: &mut [bool]) -> Result<Vec<usize>> {
        let mut open = self.of_new(is_new);
        if open.is_empty() {
            return Ok(open);
        }
        let keys: Vec<_> = open.iter().map(|&n| self.keys[n].clone()).collect();
        let found: HashMap<String, RunId> = FIND_IDEMPOTENCY_KEYS
            .query(
                &[&keys, &self.flow_slug, &self.created_by, &self.created_for],
                |row| Ok((row.get(1)?, row.get(2)?)),
            )?
            .into_iter()
            .collect();
        open.retain(|&n| {
            let owner = self.keys[n].as_ref().and_then(|key| found.get(key));
            if let Some(&owner) = owner {
                is_new[n] = owner == ids[n];
                ids[n] = owner;
            }
            owner.is_none()
        });
        Ok(open)
    }

    /// Claims the keys that have no run yet for the new ones.
    fn claim(&self, ids: &mut [RunId], is_new: &mut [bool]) -> Result<()> {
        let mut open = self.of_new(is_new);
        while !open.is_empty() {
            let open_ids: Vec<_> = open.iter().map(|&n| ids[n]).collect();
            let open_keys: Vec<_> = open.iter().map(|&n| self.keys[n].clone()).collect();
            CLAIM_IDEMPOTENCY_KEYS.execute(&[
                &open_ids,
                &open_keys,
                &self.flow_slug,
                &self.created_by,
                &self.created_for,
            ])?;
            // A statement of its own: it sees the key that the one above waited for. Not found: the run was pruned
            // between the two statements, and the key is free again.
            open = self.find(ids, is_new)?;
        }
        Ok(())
    }

    /// The payloads that have a key and are not known to have a run.
    fn of_new(&self, is_new: &[bool]) -> Vec<usize> {
        (0..self.keys.len())
            .filter(|&n| self.keys[n].is_some() && is_new[n])
            .collect()
    }
}
