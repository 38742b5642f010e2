//! The calls that meet each other: each is one statement on the run `{run}` of flow `f`; `{a.0}` is the lease under
//! which task 0 of step `a` was handed out when the scene was set.

/// How what a call did is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Other,
    /// Hands out tasks; what it leaves is the next claimer's.
    Claim,
    /// Passes over runs that someone else holds; they are the next call's.
    Prune,
}

#[derive(Debug)]
pub struct Act {
    pub name: &'static str,
    pub kind: Kind,
    pub sql: &'static str,
}

const fn act(name: &'static str, sql: &'static str) -> Act {
    Act { name, kind: Kind::Other, sql }
}

const fn claim(name: &'static str, sql: &'static str) -> Act {
    Act { name, kind: Kind::Claim, sql }
}

macro_rules! receipt {
    ($name:expr, $call:expr) => {
        act($name, concat!("select accepted, task_status, step_status, run_status from pgflow.", $call))
    };
}

pub const PRUNE: Act = Act { name: "prune_runs", kind: Kind::Prune, sql: "select pgflow.prune_runs('0')" };

pub const OPEN: Act = receipt!("release a of anyone", "release_step_task('{run}', 'a')");

pub const CLAIM: Act = claim(
    "claim",
    "select step_slug, task_index, attempt, input, run_id from pgflow.claim_step_tasks('f', 100, null, 'claim')",
);

pub const ACTS: &[Act] = &[
    act("create_flow", "select version from pgflow.create_flow('f', max_attempts => 7)"),
    act(
        "define_flow",
        r#"select version, changed from pgflow.define_flow('{"flow_slug": "f", "steps": [{"step_slug": "other"}]}')"#,
    ),
    act("add_step", "select flow_version, step_index from pgflow.add_step('f', 'added')"),
    act("delete_flow", "select pgflow.delete_flow('f', true)"),
    act("run_flow", "select pgflow.run_flow('f', '[1, 2, 3]')"),
    act("run_flow, a new key", "select pgflow.run_flow('f', '[4, 5]', 'new')"),
    act("run_flow, its key", "select pgflow.run_flow('f', '[4, 5]', 'main')"),
    act("run_flows", "select pgflow.run_flows('f', array['[6]', '[7]']::jsonb[], array['newer', 'new'])"),
    act("start_step", "select status from pgflow.start_step('{run}', 's')"),
    CLAIM,
    claim(
        "claim one",
        "select step_slug, task_index, attempt, input, run_id \
         from pgflow.claim_step_tasks('f', 1, null, 'claim one')",
    ),
    receipt!("complete a", "complete_step_task('{run}', 'a', '\"a\"', 0, {a.0})"),
    receipt!("complete b", "complete_step_task('{run}', 'b', '\"b\"', 0, {b.0})"),
    receipt!("complete m[0]", "complete_step_task('{run}', 'm', '\"m0\"', 0, {m.0})"),
    receipt!("complete m[1]", "complete_step_task('{run}', 'm', '\"m1\"', 1, {m.1})"),
    receipt!("fail a", "fail_step_task('{run}', 'a', 'again', 0, {a.0})"),
    receipt!("fail a for good", "fail_step_task('{run}', 'a', 'for good', 0, {a.0}, false)"),
    receipt!("fail b for good", "fail_step_task('{run}', 'b', 'for good', 0, {b.0}, false)"),
    receipt!("fail m[0] for good", "fail_step_task('{run}', 'm', 'for good', 0, {m.0}, false)"),
    receipt!("extend a", "extend_step_task('{run}', 'a', 0, {a.0}, 100)"),
    receipt!("release a", "release_step_task('{run}', 'a', 0, {a.0})"),
    receipt!("release m[1]", "release_step_task('{run}', 'm', 1, {m.1})"),
    receipt!("complete_step", "complete_step('{run}', 'e', '\"e\"')"),
    receipt!(
        "settle",
        r#"settle_step_tasks('[{"run_id": "{run}", "step_slug": "b", "lease": {b.0}, "output": "settled"},
                               {"run_id": "{run}", "step_slug": "m", "lease": {m.0}, "error_message": "again"},
                               {"run_id": "{run}", "step_slug": "m", "task_index": 1, "lease": {m.1}, "release": true},
                               {"run_id": "{run}", "step_slug": "a", "lease": {a.0}, "output": "settled"}]')"#
    ),
    claim(
        "settle_and_claim",
        r#"select step_slug, task_index, attempt, input, run_id from pgflow.settle_and_claim(
             '[{"run_id": "{run}", "step_slug": "m", "task_index": 1, "lease": {m.1}, "output": "settled"},
               {"run_id": "{run}", "step_slug": "a", "lease": {a.0}, "output": "settled and claimed"}]',
             'f', 100, null, 'settle_and_claim')"#,
    ),
    act("cancel_run", "select status, error_message from pgflow.cancel_run('{run}', 'called off')"),
    act("retry_run", "select status from pgflow.retry_run('{run}')"),
    act("fork_run", "select pgflow.fork_run('{run}', '{a}')"),
    PRUNE,
    OPEN,
];

pub fn find(name: &str) -> Option<&'static Act> {
    ACTS.iter().find(|act| act.name == name)
}
