-- Marks events as taken that nobody has taken yet, and returns those.
-- Updates the rows; skips those that someone else is taking.
update pgflow.events e set taken_at = $2
where e.event_id = any (array(
  select f.event_id from pgflow.events f
  where f.event_id = any ($1::bigint[]) and f.taken_at is null
  for update skip locked))
returning e.event_id
