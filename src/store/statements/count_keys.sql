-- count_queue.sql for each key that has any.
-- Locks nothing.
select k.key, sum(k.leased)::bigint, sum(k.started)::bigint
from (select r.key collate "C" as key, 1 as leased, 0 as started
      from pgflow.live_tasks t
      join pgflow.runs r on r.run_id = t.run_id
      where t.queue = $1 and t.status = 'started' and t.lease is not null and r.key is not null
      union all
      select s.key, 0, s.tasks from pgflow.queue_starts s
      where s.queue = $1 and s.started_at >= $2::timestamptz - make_interval(secs => $3)
        and s.started_at <= $2::timestamptz + make_interval(secs => $3) and s.key is not null) k
group by k.key
