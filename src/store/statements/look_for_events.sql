-- For each waiter that has one, its ordinal and the event it gets: the first one with its name and key that was sent after
-- $5 or is still handed out, and that nobody has taken or that was first taken when the waiter's run existed already. Not
-- those of the senders in $6 and $7.
-- Locks nothing: the caller holds the locks of the events and looks at the latest state.
select u.ordinal, e.event_id, e.payload, e.sent_by::text, e.sent_for, e.taken_at is not null
from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) with ordinality
       u(event_key, name, key, created_at, ordinal)
cross join lateral (
  select f.event_id, f.payload, f.sent_by, f.sent_for, f.taken_at
  from (
    (select e.event_id, e.payload, e.sent_by, e.sent_for, e.taken_at
     from pgflow.events e
     where e.event_key = u.event_key and e.name = u.name and e.key is not distinct from u.key
       and e.taken_at is null and e.sent_at > $5 and not exists (select from unnest($6::text[], $7::text[]) s(role, sub)
                       where s.role = e.sent_by::text and s.sub is not distinct from e.sent_for)
     order by e.event_id limit 1)
    union all
    (select e.event_id, e.payload, e.sent_by, e.sent_for, e.taken_at
     from pgflow.events e
     where e.event_key = u.event_key and e.name = u.name and e.key is not distinct from u.key
       and e.taken_at >= u.created_at and (e.sent_at > $5 or e.is_open) and not exists (select from unnest($6::text[], $7::text[]) s(role, sub)
                       where s.role = e.sent_by::text and s.sub is not distinct from e.sent_for)
     order by e.taken_at, e.event_id limit 1)) f
  order by f.event_id limit 1) e
order by u.ordinal
