//! What is broken by hand in the middle of a schedule, to see that it is noticed.

use crate::crew::Stuck;
use crate::play::Play;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A task is forgotten.
    LoseTask,
    /// A task that someone holds is queued again.
    DoubleTask,
    /// A step waits for one dep too many.
    WaitForNothing,
    /// A step waits for one dep too few.
    StartEarly,
    /// A step has another output than its task returned.
    ChangeOutput,
    /// A run is expected to return something else.
    ExpectOther,
}

pub const KINDS: [Kind; 6] =
    [Kind::LoseTask, Kind::DoubleTask, Kind::WaitForNothing, Kind::StartEarly, Kind::ChangeOutput, Kind::ExpectOther];

/// Breaks something; false when there was nothing of that kind to be broken. It waits for nobody.
pub fn commit(play: &mut Play, kind: Kind) -> Result<bool, Stuck> {
    let sql = match kind {
        Kind::LoseTask => {
            "delete from pgflow.live_tasks where (run_id, step_slug, task_index) in
             (select run_id, step_slug, task_index from pgflow.live_tasks limit 1 for update skip locked)"
        }
        Kind::DoubleTask => {
            "update pgflow.live_tasks set status = 'ready', lease = null, lease_expires_at = null
             where (run_id, step_slug, task_index) in
             (select run_id, step_slug, task_index from pgflow.live_tasks
              where status = 'started' and executor = 'worker' and lease_expires_at > clock_timestamp()
              limit 1 for update skip locked)"
        }
        Kind::WaitForNothing => {
            "update pgflow.step_states set remaining_deps = remaining_deps + 1 where (run_id, step_slug) in
             (select run_id, step_slug from pgflow.step_states where status = 'pending' limit 1 for update skip locked)"
        }
        Kind::StartEarly => {
            "update pgflow.step_states set remaining_deps = remaining_deps - 1 where (run_id, step_slug) in
             (select run_id, step_slug from pgflow.step_states where status = 'pending' and remaining_deps > 1
              limit 1 for update skip locked)"
        }
        Kind::ChangeOutput => {
            "update pgflow.step_states set output = '[\"changed\"]' where (run_id, step_slug) in
             (select run_id, step_slug from pgflow.step_states where status = 'completed' limit 1 for update skip locked)"
        }
        Kind::ExpectOther => return Ok(true),
    };
    Ok(play.crew.admin.execute(sql, &[])? > 0)
}
