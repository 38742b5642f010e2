-- Says when tasks of timers are over.
-- Updates live rows; the caller holds the locks of the runs or has just made them.
update pgflow.live_tasks t set lease_expires_at = u.due_at
from unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[]) u(run_id, step_slug, task_index, due_at)
where t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
