-- Notes that a worker is there; it has got so many tasks ($5) since the last time. One that is seen for the first time gets a row
-- unless someone else may be making it: whoever inserts the same key waits for the other, and a claim waits for nobody.
-- Inserts or updates a row; skips it when someone else holds it.
with known as materialized (
  select w.worker_id, w.queue from pgflow.workers w where w.worker_id = $1 and w.queue = $2
), seen as (
  update pgflow.workers w
  set last_seen_at = greatest(w.last_seen_at, $4), executor = $3, tasks_claimed = w.tasks_claimed + $5
  from (select w.worker_id, w.queue from pgflow.workers w where w.worker_id = $1 and w.queue = $2
        for update skip locked) l
  where w.worker_id = l.worker_id and w.queue = l.queue
)
insert into pgflow.workers (worker_id, queue, executor, started_at, last_seen_at, tasks_claimed)
select $1, $2, $3, $4, $4, $5
where case when not exists (select from known)
           then pg_try_advisory_xact_lock('pgflow.workers'::regclass::oid::int, hashtext($1 || $2)) end
on conflict do nothing
returning true
