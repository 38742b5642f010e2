-- Deletes ended runs of a flow with all that belongs to them, the oldest first, and counts them. See prune_runs.sql.
-- Locks and deletes; skips runs that someone else holds.
with old as materialized (
  select r.run_id from pgflow.runs r
  where r.flow_slug = $4 and r.run_id < $1 and r.finished_at < $2
    and not exists (select from pgflow.errands e where e.run_id = r.run_id offset 0)
  order by r.run_id
  limit $3
  for update skip locked
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
