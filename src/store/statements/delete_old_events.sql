-- Deletes the oldest events of up to $2, if they were sent before $1 and are not still handed out, and counts them.
-- Deletes the rows; skips those that someone else holds.
with old as materialized (
  select e.event_id from pgflow.events e
  where e.event_id = any (array(select f.event_id from pgflow.events f order by f.event_id limit $2))
    and e.sent_at <= $1 and not e.is_open
  for update skip locked
), gone as (
  delete from pgflow.events e using old where e.event_id = old.event_id
  returning 1
)
select count(*) from gone
