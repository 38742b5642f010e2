-- Deletes these ended runs with all that belongs to them, and counts them. A run may have been retried and have ended
-- again before it was locked: then its new end, too, must have reached its parent and children.
-- Deletes; the caller has locked the runs in a statement before this one.
with old as materialized (
  select u.run_id from unnest($1::uuid[]) u(run_id)
  where not exists (select from pgflow.errands e where e.run_id = u.run_id offset 0)
), idempotency_keys as (
  delete from pgflow.idempotency_keys k using old where k.run_id = old.run_id
), deadlines as (
  delete from pgflow.run_deadlines d using old where d.run_id = old.run_id
), attempts as (
  delete from pgflow.step_tasks t using old where t.run_id = old.run_id
), states as (
  delete from pgflow.step_states s using old where s.run_id = old.run_id
), runs as (
  delete from pgflow.runs r using old where r.run_id = old.run_id
  returning r.run_id
)
select count(*) from runs
