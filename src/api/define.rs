//! For authors of flows: definitions.

use pgrx::prelude::*;

use super::arguments::{no_nulls, required};
use crate::engine::{
    add_step, create_flow, define, define_flow, delete_flow, flow_graph, http_tasks, rights,
};
use crate::model::shape::{Options, StepShape};
use crate::store::value::{FlowRow, StepRow};
use crate::store::{Composite, Json, enter, look};

/// Makes a flow without steps, or changes the options of one.
///
/// `max_attempts` is how often a task is tried; a retry waits `base_delay` seconds, doubled with each further one up to
/// `max_delay`; a lease lasts `timeout` seconds. These hold for every step that has none of its own. `output_step_slug`
/// names the step whose output is the run's, which may be added later; by default it is that of all leaves.
///
/// Equal arguments change nothing. Others change the latest version in place as long as no run has seen it, else they
/// open the next version; the description is no part of it. Only the flow's owner and its members may change it (42501).
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn create_flow(
    flow_slug: Option<&str>,
    max_attempts: default!(Option<i32>, 3),
    base_delay: default!(Option<i32>, 5),
    timeout: default!(Option<i32>, 60),
    max_delay: default!(Option<i32>, 3600),
    output_step_slug: default!(Option<String>, "NULL"),
    description: default!(Option<&str>, "NULL"),
) -> Composite<FlowRow> {
    enter(|session| {
        rights::may_define(session)?;
        let options = Options {
            max_attempts: required("max_attempts", max_attempts)?,
            base_delay: required("base_delay", base_delay)?,
            timeout: required("timeout", timeout)?,
            max_delay: required("max_delay", max_delay)?,
            output_step_slug,
            ..Options::default()
        };
        create_flow::create_flow(
            session,
            required("flow_slug", flow_slug)?,
            description,
            options,
        )
    })
}

/// Adds a step to a flow, or gives one of its steps another shape; its place in the order stays.
///
/// Options that are null are those of the version. A map step has a task for each element of an array: of the run's
/// payload, of the output of its dep, or of that of the dep named by `map_over`. Patterns are JSON objects that the step's
/// input must, or must not, contain.
///
/// Equal arguments change nothing; others change the flow as `create_flow` does. An unknown flow or dep is PT404; a cycle,
/// and whatever else is wrong, 22023.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments)]
fn add_step(
    flow_slug: Option<&str>,
    step_slug: Option<String>,
    deps_slugs: default!(Option<Vec<Option<String>>>, "'{}'"),
    max_attempts: default!(Option<i32>, "NULL"),
    base_delay: default!(Option<i32>, "NULL"),
    timeout: default!(Option<i32>, "NULL"),
    start_delay: default!(Option<i32>, "NULL"),
    step_type: default!(Option<String>, "'single'"),
    required_input_pattern: default!(Option<Json>, "NULL"),
    forbidden_input_pattern: default!(Option<Json>, "NULL"),
    when_unmet: default!(Option<String>, "'skip'"),
    when_exhausted: default!(Option<String>, "'fail'"),
    executor: default!(Option<String>, "'worker'"),
    target: default!(Option<String>, "NULL"),
    queue: default!(Option<String>, "NULL"),
    start_mode: default!(Option<String>, "'auto'"),
    map_over: default!(Option<String>, "NULL"),
) -> Composite<StepRow> {
    enter(|session| {
        rights::may_define(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        let step = StepShape {
            step_slug: required("step_slug", step_slug)?,
            deps_slugs: no_nulls("deps_slugs", required("deps_slugs", deps_slugs)?)?,
            step_type: required("step_type", step_type)?,
            map_over,
            executor: required("executor", executor)?,
            target,
            queue: queue.unwrap_or_else(|| flow_slug.to_owned()),
            start_mode: required("start_mode", start_mode)?,
            max_attempts,
            base_delay,
            timeout,
            start_delay,
            required_input_pattern: required_input_pattern.map(define::json_text).transpose()?,
            forbidden_input_pattern: forbidden_input_pattern.map(define::json_text).transpose()?,
            when_unmet: required("when_unmet", when_unmet)?,
            when_exhausted: required("when_exhausted", when_exhausted)?,
        };
        add_step::add_step(session, flow_slug, step)
    })
}

/// Defines a whole flow by one JSON document: `flow_slug`, `steps` (an array, each with its `deps_slugs`, in any order) and
/// the options of `create_flow` and `add_step` by their names. `executor` and `target` of the flow are the defaults of its
/// steps; a step with target null has none.
///
/// Answers with the latest version and whether anything changed: the same shape again, in whatever order, changes
/// nothing. Otherwise as `create_flow`; steps that the document does not name are gone. 22023 names every problem of the
/// document with its JSON path, and then nothing is stored.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn define_flow(
    definition: Option<Json>,
) -> TableIterator<
    'static,
    (
        name!(flow_slug, String),
        name!(version, i32),
        name!(changed, bool),
    ),
> {
    enter(|session| {
        rights::may_define(session)?;
        let defined = define_flow::define_flow(session, required("definition", definition)?)?;
        Ok(TableIterator::once((
            defined.flow_slug,
            defined.version,
            defined.changed,
        )))
    })
}

/// Deletes a flow with all its versions. While it has runs this is PT409, unless `with_runs` deletes them too, whatever
/// their state. Waits for all calls that make or move runs to end.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn delete_flow(flow_slug: Option<&str>, with_runs: default!(Option<bool>, false)) {
    enter(|session| {
        rights::may_define(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        delete_flow::delete_flow(session, flow_slug, required("with_runs", with_runs)?)
    })
}

/// Sets the secrets that HTTP requests of a flow are signed with, or of all flows that have none of their own; none takes
/// them away. Each is `whsec_` and 24 to 64 bytes in base64.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn set_http_secrets(
    secrets: Option<Vec<Option<String>>>,
    flow_slug: default!(Option<&str>, "NULL"),
) {
    enter(|session| {
        rights::may_define(session)?;
        let secrets = no_nulls("secrets", required("secrets", secrets)?)?;
        http_tasks::set_secrets(session, flow_slug, &secrets)
    });
}

/// The static shape of a flow's version, the latest by default: the options, `steps` in the order of definition, each with
/// its `deps_slugs`, and the edges again as `deps`. An unknown flow or version is PT404.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn flow_graph(flow_slug: Option<&str>, version: default!(Option<i32>, "NULL")) -> Json {
    look(|session| {
        rights::may_read_flow(session, flow_slug)?;
        flow_graph::flow_graph(required("flow_slug", flow_slug)?, version)
    })
}
