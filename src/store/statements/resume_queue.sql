-- Ends the pause of a queue. Returns a row if it was paused.
-- Updates the row of the queue.
update pgflow.queues q set is_paused = false where q.queue = $1 and q.is_paused returning true
