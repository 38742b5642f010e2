-- Makes sure that nobody holds a row of the run that its end would touch; fails with 55P03 if somebody does.
-- Locks the run and its live tasks.
with run as materialized (
  select r.run_id from pgflow.runs r where r.run_id = $1 for update nowait
)
select count(*) from (
  select t.run_id from run join pgflow.live_tasks t on t.run_id = run.run_id and t.run_id = $1 for update of t nowait
) held
