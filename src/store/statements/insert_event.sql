-- Keeps an event.
-- Inserts; the caller holds the lock of the event, so numbers follow each other as the events do.
insert into pgflow.events (event_key, name, key, payload, sent_at, sent_by, sent_for, taken_at, is_open)
values ($1, $2, $3, coalesce($4::jsonb, 'null'), $5, $6, $7, $8, $9)
