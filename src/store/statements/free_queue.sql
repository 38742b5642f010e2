-- Forgets a queue that nothing holds back.
-- Deletes the row of the queue.
delete from pgflow.queues q
where q.queue = $1 and not q.is_paused
  and num_nonnulls(q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key) = 0
