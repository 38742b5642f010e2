-- Those of the runs that are under way and of which nobody holds a row that their end would touch.
-- Locks the runs and their live tasks, skipping what someone else holds; the caller holds the locks of the runs, so no
-- live task comes or goes meanwhile.
with open as materialized (
  select r.run_id from pgflow.runs r
  where r.run_id = any ($1::uuid[]) and r.status in ('pending', 'started')
  for update skip locked
), held as materialized (
  select t.run_id from open o join pgflow.live_tasks t on t.run_id = o.run_id
  for update of t skip locked
)
select o.run_id
from open o
left join (select h.run_id, count(*) as tasks from held h group by h.run_id) h on h.run_id = o.run_id
where coalesce(h.tasks, 0) = (select count(*) from pgflow.live_tasks t where t.run_id = o.run_id)
