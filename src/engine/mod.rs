//! The transitions: one file per arrow.
//!
//! ```text
//! run    pending ──► started ──► completed | failed | cancelled        failed | cancelled ──retry_run──► started
//! step   pending ──► started ──► completed | failed | skipped | cancelled
//! task   queued ──claim──► started ──complete──► completed
//!           ▲                 ├──fail───────────► failed ───┐
//!           │                 └──lease runs out─► expired ──┤ attempts left: the next attempt is queued
//!           └──release────────┘                             └ none left: when_exhausted decides about the step
//! ```
//!
//! **The life of a task.** [`run_flow`] writes the run, a state for every step, and the tasks of the steps without
//! deps. A task is a row of `step_tasks` for each attempt, which stays, and one narrow row of `live_tasks`, which goes
//! when the task ends. [`claim`] moves it from ready to started and gives it a lease; [`settle`] takes the result. When
//! that ends a step, [`advance`] counts down the deps of its dependents, starts or skips those that reach zero, and
//! closes the run when nothing is left to do.
//!
//! **Time.** Nothing sleeps. A delay is a time in `live_tasks.ready_at`, a lease one in `lease_expires_at`; the next
//! claim of the queue finds what has fallen due.
//!
//! **Locks, in the order in which every path takes them.**
//!
//! 1. Table `runs`: ROW EXCLUSIVE by everything that makes or moves a run, SHARE ROW EXCLUSIVE by `delete_flow`.
//! 2. The row of `flows`, then of `flow_versions`: by who defines, and by the first run of a version. Rows of `schedules`
//!    come after that of `flows`; a tick, which has them first, waits for no version.
//! 3. The advisory locks of runs, in the order of their keys, at most [`MAX_RUN_LOCKS`] in a call.
//! 4. The advisory locks of events: by their senders, one each; by steps that begin to wait, shared and only if free.
//! 5. Rows: `live_tasks`, `step_tasks`, `step_states`, `runs`, `events`, `run_deadlines`. Who sweeps deadlines or prunes has
//!    `run_deadlines` before `runs`, and waits for nobody.
//!
//! A claim of a limited queue takes the row of `queues` before its live rows, if nobody has it ([`limits`]).
//!
//! Calls that only complete tasks of a large map share its run's lock ([`counting`]), and meet each other at live rows,
//! in the order of their keys; everything else holds it alone.
//!
//! What has changed is told when the call ends ([`event`]); just before the commit the lock of listeners is tried, and waited
//! for by nobody but them.
//!
//! What the end of a run does to its parent and its children ([`aftermath`]) goes against this order, so it waits for
//! nothing: what is not free is left as an errand.
//!
//! The lock of a run (3) is a call of its own before the statement that reads, so that statement sees what the previous
//! holder committed. `run_flow` needs none: nobody sees the run yet. [`claim`] waits for nothing: rows with SKIP LOCKED,
//! a run's lock only if it is free. So a holder of a run's lock waits for a row only when a claimer holds it, and a
//! claimer waits for nobody.
//!
//! **Stale snapshots.** Under REPEATABLE READ a call may read what was true before it got the lock. Every decision is
//! therefore made on a row that the same call updates: a join on the state of the step that joins, a map's end on the
//! state of the map, a run's end on the row of the run. PostgreSQL then refuses the stale one with 40001.
//! Claims of a limited queue, one after the other, update the row of the queue.
//! `run_flow` and `delete_flow` share no row, so under such a snapshot they look at the newest state instead.
//!
//! A statement that waits for a row does not see what its holder inserted beside it. So rows are locked in a statement
//! of their own, and the next one changes them and what belongs to them.

pub mod add_step;
pub mod advance;
pub mod aftermath;
pub mod cancel_run;
pub mod carry_out;
pub mod children;
pub mod claim;
pub mod claimed;
pub mod complete_step;
pub mod counting;
pub mod create_flow;
pub mod define;
pub mod define_flow;
pub mod definitions;
pub mod delete_flow;
pub mod doorbell;
pub mod errands;
pub mod event;
pub mod events;
pub mod expire;
pub mod extend;
pub mod fate;
pub mod flow_graph;
pub mod fork_run;
pub mod gather;
pub mod grants;
pub mod http_tasks;
pub mod kept_events;
pub mod lanes;
pub mod limits;
pub mod live;
pub mod observe;
pub mod pausing;
pub mod pictures;
pub mod prune_runs;
pub mod realtime;
pub mod receipt;
pub mod results;
pub mod retention;
pub mod retry_run;
pub mod rights;
pub mod run_flow;
pub mod run_timeouts;
pub mod runs;
pub mod schedule_flow;
pub mod schedules;
pub mod send_event;
pub mod settle;
pub mod sql_tasks;
pub mod start;
pub mod start_step;
pub mod targets;
pub mod timers;
pub mod upkeep;
pub mod walks;
pub mod workers;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

/// How many run locks one call may hold: the server's lock table is finite.
pub const MAX_RUN_LOCKS: usize = 1000;

/// What jsonb can hold, less a margin for keys and headers (256 MB, see `JENTRY_OFFLENMASK` of PostgreSQL).
pub const LARGEST_JSON: usize = 250 * 1024 * 1024;

/// A sum of `pg_column_size`, which counts compressed bytes, that cannot belong to more than [`LARGEST_JSON`]: no
/// compression method of PostgreSQL saves more than 255 parts of 256.
pub fn surely_small() -> i64 {
    const { LARGEST_JSON as i64 / 256 }
}

pub use crate::model::domain::LONGEST_SECONDS;
