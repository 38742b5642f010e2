-- Notes that tasks of these runs, one for each, were started in a queue, by key if keys count ($4).
-- Inserts starts; the caller holds the row of the queue.
insert into pgflow.queue_starts (queue, key, started_at, tasks)
select $1, s.key, $3, count(*)
from (select case when $4 then r.key end as key
      from unnest($2::uuid[]) u(run_id)
      join pgflow.runs r on r.run_id = u.run_id) s
group by s.key
