-- Gives a queue its limits. One that had none hands out nothing until claims that cannot know of them have ended (awaits).
-- Inserts or updates the row of the queue.
insert into pgflow.queues as q (queue, max_running, max_running_per_key, max_started, max_started_per_key, period, awaits)
values ($1, $2, $3, $4, $5, $6, case when num_nonnulls($2, $3, $4, $5) > 0 then '{}'::text[] end)
on conflict (queue) do update
set max_running = $2, max_running_per_key = $3, max_started = $4, max_started_per_key = $5, period = $6,
    awaits = case when num_nonnulls(q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key) > 0
                  then q.awaits else excluded.awaits end
returning q
