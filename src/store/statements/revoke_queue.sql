-- No longer lets a role serve a queue.
-- Deletes from queue_grants.
delete from pgflow.queue_grants where queue = $1 and role_name = $2::text::name
