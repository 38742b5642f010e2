-- Changes of runs (no step_slug) and steps as messages: topic, event and payload, and the payload as text where everybody may
-- have it ($4) and it has at most $6 bytes. An output of more than $5 bytes as text is left out; one that takes up eight
-- times that is not even looked at.
-- Locks nothing.
select u.ordinal, 'pgflow:run:' || u.run_id::text,
       case when u.step_slug is null then 'run:' || u.status else 'step:' || u.step_slug || ':' || u.status end,
       m.payload,
       case when octet_length(t.payload) <= $6 then t.payload end
from unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[]) with ordinality u(run_id, step_slug, status, is_public, ordinal)
cross join lateral (
  select r.flow_slug::text, r.started_at, r.finished_at, r.output, r.error_message, null::text as skip_reason
  from pgflow.runs r
  where u.step_slug is null and r.run_id = u.run_id
  union all
  select s.flow_slug::text, s.started_at, s.finished_at, s.output, s.error_message, s.skip_reason
  from pgflow.step_states s
  where s.run_id = u.run_id and s.step_slug = u.step_slug) c
cross join lateral (
  select case when u.status <> 'completed' or c.output is null then null
              when pg_column_size(c.output) > 8 * $5::bigint then false
              else octet_length(c.output::text) <= $5 end as fits
  offset 0) o
cross join lateral (
  -- What is null is not there; within an output nulls stay.
  select jsonb_strip_nulls(jsonb_build_object(
           'event_type', case when u.step_slug is null then 'run:' else 'step:' end || u.status,
           'run_id', u.run_id, 'flow_slug', c.flow_slug, 'step_slug', u.step_slug, 'status', u.status,
           'started_at', c.started_at,
           'finished_at', case when u.status <> 'started' then c.finished_at end,
           'error_message', case when u.status in ('failed', 'cancelled', 'skipped') then left(c.error_message, 1000) end,
           'skip_reason', case when u.status = 'skipped' then c.skip_reason end,
           'fetch', case when not o.fits or u.status in ('failed', 'cancelled', 'skipped') and length(c.error_message) > 1000
                         then true end))
         || case when o.fits then jsonb_build_object('output', c.output) else '{}' end as payload
  offset 0) m
cross join lateral (
  select case when u.is_public then m.payload::text end as payload
  offset 0) t
order by u.ordinal
