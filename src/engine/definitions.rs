//! Definitions, read once per backend.
//!
//! The cache is keyed by `definition_id`, a random number that each change of a version renews. A definition of a
//! rolled back transaction or of a deleted flow is never asked for again, because its number is met nowhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::model::{Definition, Executor, Resort, Step, StepType};
use crate::statements;

statements! {
    VERSION_OF_DEFINITION = "version_of_definition.sql",
    STEPS_OF_VERSION = "steps_of_version.sql",
}

/// Beyond this size the cache is emptied: definitions are cheap to read again. A definition counts for one, and so do
/// each of its steps (some 500 bytes) and deps.
const CACHED: usize = 10_000;

#[derive(Default)]
struct Cache {
    definitions: HashMap<i64, Rc<Definition>>,
    size: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The definition with this id, which is (or was at the caller's snapshot) version `version` of the flow.
pub fn get(id: i64, flow_slug: &str, version: i32) -> Result<Rc<Definition>> {
    if let Some(found) = CACHE.with_borrow(|cache| cache.definitions.get(&id).cloned()) {
        return Ok(found);
    }
    let definition = Rc::new(read(id, flow_slug, version)?);
    CACHE.with_borrow_mut(|cache| {
        if cache.size > CACHED {
            *cache = Cache::default();
        }
        let deps = definition.steps.iter().map(|step| step.deps.len());
        cache.size += 1 + definition.steps.len() + deps.sum::<usize>();
        cache.definitions.insert(id, Rc::clone(&definition));
    });
    Ok(definition)
}

/// Whether the definition is there in the newest state of the tables, which a fixed snapshot does not show.
pub fn still_exists(id: i64, flow_slug: &str, version: i32) -> Result<bool> {
    VERSION_OF_DEFINITION
        .latest(&[&flow_slug, &version, &id], |_| Ok(()))
        .map(|rows| !rows.is_empty())
}

fn read(id: i64, flow_slug: &str, version: i32) -> Result<Definition> {
    let (max_delay, output_step_slug, run_timeout) = VERSION_OF_DEFINITION
        .first(&[&flow_slug, &version, &id], |row| {
            Ok((row.get(1)?, row.opt::<String>(2), row.opt(3)))
        })?
        .ok_or_else(|| {
            Error::Internal(format!(
                "version {version} of flow \"{flow_slug}\" is not definition {id}"
            ))
        })?;
    let rows = STEPS_OF_VERSION.query(&[&flow_slug, &version], |row| {
        let step = Step {
            slug: row.get(1)?,
            index: row.get(2)?,
            step_type: match row.get::<String>(3)?.as_str() {
                "map" => StepType::Map,
                _ => StepType::Single,
            },
            map_over: None,
            executor: executor(&row.get::<String>(5)?)?,
            target: row.opt(17),
            queue: row.get(6)?,
            manual: row.get(7)?,
            max_attempts: row.get(8)?,
            base_delay: row.get(9)?,
            timeout: row.get(10)?,
            own_timeout: row.get(11)?,
            start_delay: row.get(12)?,
            has_condition: row.get(13)?,
            when_unmet: resort(&row.get::<String>(14)?)?,
            when_exhausted: resort(&row.get::<String>(15)?)?,
            deps: Vec::new(),
            dependents: Vec::new(),
            feeds_map: false,
        };
        Ok((step, row.opt::<String>(4), row.get::<Vec<String>>(16)?))
    })?;
    let positions: HashMap<String, usize> = rows
        .iter()
        .enumerate()
        .map(|(no, (step, ..))| (step.slug.clone(), no))
        .collect();
    let position = |slug: &String| {
        positions
            .get(slug)
            .copied()
            .ok_or_else(|| Error::Internal(format!("flow \"{flow_slug}\" lacks step \"{slug}\"")))
    };
    let steps = rows
        .iter()
        .map(|(step, map_over, deps)| {
            Ok(Step {
                map_over: map_over.as_ref().map(position).transpose()?,
                deps: deps.iter().map(position).collect::<Result<_>>()?,
                ..step.clone()
            })
        })
        .collect::<Result<_>>()?;
    Ok(Definition::new(
        id,
        flow_slug.to_owned(),
        version,
        max_delay,
        run_timeout,
        output_step_slug.as_deref(),
        steps,
    ))
}

pub fn executor(text: &str) -> Result<Executor> {
    match text {
        "worker" => Ok(Executor::Worker),
        "sql" => Ok(Executor::Sql),
        "http" => Ok(Executor::Http),
        "flow" => Ok(Executor::Flow),
        "external" => Ok(Executor::External),
        "timer" => Ok(Executor::Timer),
        _ => Err(Error::Internal(format!("unknown executor \"{text}\""))),
    }
}

fn resort(text: &str) -> Result<Resort> {
    match text {
        "fail" => Ok(Resort::Fail),
        "skip" => Ok(Resort::Skip),
        "skip-cascade" => Ok(Resort::SkipCascade),
        _ => Err(Error::Internal(format!("unknown resort \"{text}\""))),
    }
}
