-- A claimed task as the body of a request, and the text that is sent.
-- Locks nothing.
select t.task, t.task::text
from (select jsonb_build_object('run_id', $1::uuid, 'flow_slug', $2::text, 'step_slug', $3::text, 'task_index', $4::int,
                                'attempt', $5::int, 'input', $6::jsonb, 'lease', $7::bigint, 'lease_expires_at', $8::timestamptz)
      offset 0) t(task)
