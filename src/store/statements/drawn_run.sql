-- What is drawn of a run beside its steps.
-- Locks nothing.
select r.flow_slug::text, r.flow_version, r.status, left(r.error_message, 1000), r.started_at, r.finished_at
from pgflow.runs r
where r.run_id = $1
