-- Marks the attempts of claimed tasks as started.
-- Updates attempts; the caller holds the live rows.
update pgflow.step_tasks h set status = 'started', started_at = $5, worker_id = $6
from unnest($1::uuid[], $2::text[], $3::int[], $4::int[]) u(run_id, step_slug, task_index, attempt)
where h.run_id = u.run_id and h.step_slug = u.step_slug and h.task_index = u.task_index and h.attempt = u.attempt
  and h.status = 'queued'
