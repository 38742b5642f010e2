-- Lets a role serve a queue.
-- Inserts into queue_grants.
insert into pgflow.queue_grants (queue, role_name, granted_by, granted_at)
values ($1, $2::text, $3::text, $4)
on conflict do nothing
