-- The steps of a run that has just left `pending` or ended early, with the statuses to be told: all that are not pending if
-- nothing was told of the run before, else those that its end cancelled.
-- Locks nothing.
select s.step_slug::text, s.status
from pgflow.runs r
join pgflow.step_states s on s.run_id = r.run_id
where r.run_id = $1
  and case when r.status = 'started' or r.started_at is null then s.status <> 'pending'
           else s.status = 'cancelled' and s.finished_at = r.finished_at end
