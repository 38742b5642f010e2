-- Pauses a queue.
-- Inserts or updates the row of the queue.
insert into pgflow.queues as q (queue, is_paused) values ($1, true)
on conflict (queue) do update set is_paused = true where not q.is_paused
