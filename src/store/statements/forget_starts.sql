-- Forgets what was started in a queue longer ago than the period ($3, in seconds; all of it when that is null).
-- Deletes starts; the caller holds the row of the queue.
delete from pgflow.queue_starts s
where s.queue = $1 and s.started_at < coalesce($2::timestamptz - make_interval(secs => $3), 'infinity')
