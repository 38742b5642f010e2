-- Says that an event has reached everybody who waited for it, unless somebody still does.
-- Updates the row, which the caller holds.
update pgflow.events e set is_open = false
where e.event_id = $1
  and not exists (
    select from pgflow.event_waiters w
    join pgflow.runs r on r.run_id = w.run_id and r.created_at <= e.taken_at
    where w.event_key = e.event_key and w.name = e.name and w.key is not distinct from e.key)
returning e.event_id
