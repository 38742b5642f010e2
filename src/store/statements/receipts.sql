-- Receipts as rows.
-- Locks nothing.
select row(u.run_id, u.step_slug, u.task_index, u.accepted, u.task_status, u.step_status, u.run_status)::pgflow.task_receipt
from unnest($1::uuid[], $2::text[], $3::int[], $4::boolean[], $5::text[], $6::text[], $7::text[]) with ordinality
       u(run_id, step_slug, task_index, accepted, task_status, step_status, run_status, ordinal)
order by u.ordinal
