-- When the starts of a queue that fill its window have left it: those of the whole queue ($4), else of the first key to have room
-- again ($5). $2 is now, $3 the period in seconds. Null when no window is full.
-- Locks nothing.
with starts as materialized (
  select s.key, s.started_at, s.tasks from pgflow.queue_starts s
  where s.queue = $1 and s.started_at >= $2::timestamptz - make_interval(secs => $3)
    and s.started_at <= $2::timestamptz + make_interval(secs => $3)
), whole as (
  select max(c.started_at) as started_at
  from (select s.started_at, sum(s.tasks) over (order by s.started_at desc) as tasks from starts s) c
  where c.tasks >= $4
), keys as (
  select min(k.started_at) as started_at
  from (select c.key, max(c.started_at) as started_at
        from (select s.key, s.started_at, sum(s.tasks) over (partition by s.key order by s.started_at desc) as tasks
              from starts s
              where s.key is not null) c
        where c.tasks >= $5
        group by c.key) k
)
select coalesce(w.started_at, k.started_at) + make_interval(secs => $3) + interval '1 microsecond'
from whole w
cross join keys k
