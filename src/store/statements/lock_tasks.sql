-- The started tasks that a batch names with the right lease or with none; see take_tasks.sql.
-- Locks their live rows, in the order of the arrays.
select u.ordinal, t.attempt, t.first_attempt, t.turn, ~t.rank, t.opens_run,
       t.definition_id, t.flow_slug::text, t.flow_version
from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) with ordinality
       u(run_id, step_slug, task_index, lease, ordinal)
join pgflow.live_tasks t on t.run_id = u.run_id and t.step_slug = u.step_slug and t.task_index = u.task_index
where t.lease_expires_at is not null and (u.lease is null or t.lease = u.lease)
order by u.ordinal
for update of t
