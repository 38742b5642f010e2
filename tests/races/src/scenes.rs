//! The states of a run in which calls meet.

/// How a run is brought to where two calls meet on it.
pub struct Scene {
    pub name: &'static str,
    pub about: &'static str,
    /// Statements up to the moment when the leases are noted.
    pub opening: &'static [&'static str],
    /// Statements after that.
    pub twist: &'static [&'static str],
    /// One by session 1, one by session 2: they have been at it before, and know what a server process may remember.
    pub rehearsal: [&'static str; 2],
    pub acts: &'static [&'static str],
}

const FLOW: &str = r#"select pgflow.define_flow('{"flow_slug": "f", "max_attempts": 3, "base_delay": 0, "timeout": 3600,
  "steps": [{"step_slug": "a"}, {"step_slug": "b", "when_exhausted": "skip"},
            {"step_slug": "m", "step_type": "map", "when_exhausted": "skip-cascade"},
            {"step_slug": "e", "executor": "external"}, {"step_slug": "s", "start_mode": "manual"},
            {"step_slug": "j", "deps_slugs": ["a", "b"]}, {"step_slug": "z", "deps_slugs": ["j", "m", "e", "s"]}]}')"#;
/// Three leaves, and the only attempt of each.
const LEAVES: &str = r#"select pgflow.define_flow('{"flow_slug": "f", "max_attempts": 1, "base_delay": 0, "timeout": 3600,
  "steps": [{"step_slug": "a"}, {"step_slug": "b", "when_exhausted": "skip"}, {"step_slug": "m", "step_type": "map"}]}')"#;
/// Two siblings and what waits for both.
const JOIN: &str = r#"select pgflow.define_flow('{"flow_slug": "f", "max_attempts": 2, "base_delay": 0, "timeout": 3600,
  "steps": [{"step_slug": "a"}, {"step_slug": "b", "when_exhausted": "skip"}, {"step_slug": "m", "step_type": "map"},
            {"step_slug": "j", "deps_slugs": ["a", "b"]},
            {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]}')"#;
/// A map so large that the engine has a way of its own to count it.
const LARGE: &str = r#"select pgflow.define_flow('{"flow_slug": "f", "max_attempts": 3, "base_delay": 0, "timeout": 3600,
  "steps": [{"step_slug": "a"}, {"step_slug": "b"}, {"step_slug": "m", "step_type": "map", "when_exhausted": "skip"},
            {"step_slug": "z", "deps_slugs": ["m"]}]}')"#;
const LARGE_RUN: &str = "select pgflow.run_flow('f', (select jsonb_agg(i) from generate_series(0, 99) i), 'main')";
const CLAIM_SIX_OF_MAP: &str = "select pgflow.claim_step_tasks('f', 8, null, 'first')";
const CLAIM_ALL_BUT_ONE: &str = "select pgflow.claim_step_tasks('f', 101, null, 'first')";
const CLAIM_ALL: &str = "select pgflow.claim_step_tasks('f', 102, null, 'first')";
const COMPLETE_FROM_FOUR: &str = "select count(*) from pgflow.settle_step_tasks((
       select jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', 'm', 'task_index', task_index,
                                           'lease', lease, 'output', 'm'))
       from pgflow.live_tasks where run_id = '{run}' and task_index > 3 and lease is not null))";
const REHEARSAL: [&str; 2] = [
    "select pgflow.complete_step_task('{run}', 'm', '\"first\"', 2, {m.2})",
    "select pgflow.complete_step_task('{run}', 'm', '\"second\"', 3, {m.3})",
];
const LARGE_ACTS: &[&str] = &[
    "claim",
    "complete m[0]",
    "complete m[1]",
    "fail m[0] for good",
    "release m[1]",
    "settle_and_claim",
    "cancel_run",
];
const NONE: [&str; 2] = ["", ""];
const RUN: &str = "select pgflow.run_flow('f', '[1, 2, 3]', 'main')";
const RUN_OF_TWO: &str = "select pgflow.run_flow('f', '[1, 2]', 'main')";
const CLAIM_FOUR: &str = "select pgflow.claim_step_tasks('f', 4, null, 'first')";
/// In a certain order: which step of several ends a run is the first to expire.
const EXPIRE: &str = "update pgflow.live_tasks set lease_expires_at = \
                        now() - interval '1 second' + (step_index * 10 + task_index) * interval '1 ms' \
                      where status = 'started' and executor = 'worker'";
const COMPLETE_A: &str = "select pgflow.complete_step_task('{run}', 'a', '\"a\"')";
const COMPLETE_B: &str = "select pgflow.complete_step_task('{run}', 'b', '\"b\"')";
const COMPLETE_M: &str = "select pgflow.complete_step_task('{run}', 'm', '\"m\"', 0), \
                          pgflow.complete_step_task('{run}', 'm', '\"m\"', 1)";

pub const SCENES: &[Scene] = &[
    Scene {
        name: "undefined",
        about: "there is no flow yet",
        opening: &[],
        twist: &[],
        rehearsal: NONE,
        acts: &["create_flow", "define_flow", "add_step", "delete_flow", "run_flow", "claim"],
    },
    Scene {
        name: "fresh",
        about: "the flow has no runs, and its version is not frozen",
        opening: &[FLOW],
        twist: &[],
        rehearsal: NONE,
        acts: &[
            "create_flow",
            "define_flow",
            "add_step",
            "delete_flow",
            "run_flow",
            "run_flow, a new key",
            "run_flows",
            "claim",
            "prune_runs",
        ],
    },
    Scene {
        name: "delayed",
        about: "the run is pending though its tasks are due; nothing is claimed",
        opening: &[
            FLOW,
            "select pgflow.run_flow('f', '[1, 2, 3]', 'main', start_at => clock_timestamp() + interval '1 hour')",
            "update pgflow.live_tasks set ready_at = clock_timestamp() where status = 'delayed'",
        ],
        twist: &[],
        rehearsal: NONE,
        acts: &[
            "run_flow, its key",
            "start_step",
            "claim",
            "claim one",
            "complete_step",
            "cancel_run",
            "retry_run",
            "fork_run",
            "prune_runs",
            "delete_flow",
            "define_flow",
        ],
    },
    Scene {
        name: "running",
        about: "a, b, m[0] and m[1] are claimed, m[2] is ready, e waits for its answer, s for its start",
        opening: &[FLOW, RUN, CLAIM_FOUR],
        twist: &[],
        rehearsal: NONE,
        acts: &[
            "define_flow",
            "add_step",
            "delete_flow",
            "run_flow",
            "run_flow, a new key",
            "run_flow, its key",
            "run_flows",
            "start_step",
            "claim",
            "complete a",
            "complete b",
            "complete m[0]",
            "complete m[1]",
            "fail a",
            "fail a for good",
            "fail b for good",
            "fail m[0] for good",
            "extend a",
            "release a",
            "release m[1]",
            "complete_step",
            "settle",
            "settle_and_claim",
            "cancel_run",
            "retry_run",
            "fork_run",
            "prune_runs",
        ],
    },
    Scene {
        name: "expired",
        about: "as running, but the leases have run out and each task has attempts left",
        opening: &[FLOW, RUN, CLAIM_FOUR],
        twist: &[EXPIRE],
        rehearsal: NONE,
        acts: &[
            "delete_flow",
            "start_step",
            "claim",
            "claim one",
            "complete a",
            "complete m[0]",
            "complete m[1]",
            "fail a",
            "fail a for good",
            "fail m[0] for good",
            "extend a",
            "release a",
            "settle",
            "settle_and_claim",
            "cancel_run",
            "fork_run",
        ],
    },
    Scene {
        name: "last expired",
        about: "a, b and m[0], m[1] are claimed, and these were their last attempts: a claim ends their steps",
        opening: &[LEAVES, RUN_OF_TWO, CLAIM_FOUR],
        twist: &[EXPIRE],
        rehearsal: NONE,
        acts: &[
            "delete_flow",
            "claim",
            "claim one",
            "complete a",
            "complete b",
            "complete m[0]",
            "fail a",
            "extend a",
            "release a",
            "settle",
            "settle_and_claim",
            "cancel_run",
            "retry_run",
            "fork_run",
            "prune_runs",
        ],
    },
    Scene {
        name: "failed",
        about: "as running, then a failed and the run with it: retry_run brings it back",
        opening: &[FLOW, RUN, CLAIM_FOUR],
        twist: &["select pgflow.fail_step_task('{run}', 'a', 'broken', retryable => false)"],
        rehearsal: NONE,
        acts: &[
            "define_flow",
            "delete_flow",
            "run_flow",
            "run_flow, its key",
            "start_step",
            "claim",
            "complete a",
            "complete b",
            "complete m[0]",
            "fail a",
            "extend a",
            "release a",
            "complete_step",
            "settle",
            "settle_and_claim",
            "cancel_run",
            "retry_run",
            "fork_run",
            "prune_runs",
        ],
    },
    Scene {
        name: "join",
        about: "j waits for a and b, the map n for the map m; all tasks of a, b and m are claimed",
        opening: &[JOIN, RUN_OF_TWO, CLAIM_FOUR],
        twist: &[],
        rehearsal: NONE,
        acts: &[
            "claim",
            "complete a",
            "complete b",
            "complete m[0]",
            "complete m[1]",
            "fail a",
            "fail b for good",
            "fail m[0] for good",
            "release m[1]",
            "settle",
            "settle_and_claim",
        ],
    },
    Scene {
        name: "two leaves left",
        about: "a and b are claimed, and the run is over when both are",
        opening: &[LEAVES, RUN_OF_TWO, CLAIM_FOUR],
        twist: &[COMPLETE_M],
        rehearsal: NONE,
        acts: &["claim", "complete a", "complete b", "fail a", "fail b for good", "extend a", "cancel_run", "fork_run"],
    },
    Scene {
        name: "end of a map",
        about: "m[0] and m[1] are claimed, and the run is over when both are",
        opening: &[LEAVES, RUN_OF_TWO, CLAIM_FOUR],
        twist: &[COMPLETE_A, COMPLETE_B],
        rehearsal: NONE,
        acts: &[
            "claim",
            "complete m[0]",
            "complete m[1]",
            "fail m[0] for good",
            "release m[1]",
            "cancel_run",
            "fork_run",
            "prune_runs",
        ],
    },
    Scene {
        name: "last task",
        about: "a is claimed, and the run is over when it is",
        opening: &[LEAVES, RUN_OF_TWO, CLAIM_FOUR],
        twist: &[COMPLETE_B, COMPLETE_M],
        rehearsal: NONE,
        acts: &[
            "delete_flow",
            "run_flow, its key",
            "claim",
            "complete a",
            "fail a",
            "extend a",
            "release a",
            "settle",
            "settle_and_claim",
            "cancel_run",
            "retry_run",
            "fork_run",
            "prune_runs",
        ],
    },
    Scene {
        name: "large map",
        about: "of the 100 tasks of m the first six are claimed, two of them completed, and the others wait",
        opening: &[LARGE, LARGE_RUN, CLAIM_SIX_OF_MAP],
        twist: &[COMPLETE_A, COMPLETE_B],
        rehearsal: REHEARSAL,
        acts: LARGE_ACTS,
    },
    Scene {
        name: "large map, one waits",
        about: "of the 100 tasks of m the first two are claimed, the last one waits, the others are completed",
        opening: &[LARGE, LARGE_RUN, CLAIM_ALL_BUT_ONE],
        twist: &[COMPLETE_A, COMPLETE_B, COMPLETE_FROM_FOUR],
        rehearsal: REHEARSAL,
        acts: LARGE_ACTS,
    },
    Scene {
        name: "large map, two left",
        about: "of the 100 tasks of m the first two are claimed, and all others are completed",
        opening: &[LARGE, LARGE_RUN, CLAIM_ALL],
        twist: &[COMPLETE_A, COMPLETE_B, COMPLETE_FROM_FOUR],
        rehearsal: REHEARSAL,
        acts: LARGE_ACTS,
    },
];
