-- Forgets workers that were not seen since $1.
-- Deletes rows; skips those that someone else holds.
delete from pgflow.workers w
using (select f.worker_id, f.queue from pgflow.workers f where f.last_seen_at < $1 for update skip locked) gone
where w.worker_id = gone.worker_id and w.queue = gone.queue
