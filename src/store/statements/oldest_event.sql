-- When the oldest event was sent.
-- Locks nothing.
select e.sent_at from pgflow.events e order by e.event_id limit 1
