-- How a run (step_slug null) and its steps stand, as the role in force sees them: all of its steps, or those of $2. With $3
-- also what their messages say beyond that; an output of more than $4 bytes as text is left out, and one that takes up
-- eight times that is not even looked at. Nothing if the run is not seen.
-- Locks nothing.
select c.step_slug, c.step_index, c.flow_slug, c.status, c.is_empty,
       (extract(epoch from c.started_at) * 1000000)::bigint as started_us, to_jsonb(c.started_at) #>> '{}' as started_at,
       (extract(epoch from c.finished_at) * 1000000)::bigint as finished_us, to_jsonb(c.finished_at) #>> '{}' as finished_at,
       m.*
from (
  select null::text as step_slug, -1 as step_index, r.flow_slug::text, r.status, r.started_at, r.finished_at, r.output,
         r.error_message, null::text as skip_reason,
         not exists (select from pgflow.step_states s where s.run_id = r.run_id) as is_empty
  from pgflow.runs r
  where r.run_id = $1
  union all
  -- No index of a definition that the role does not see.
  select s.step_slug::text, p.step_index, s.flow_slug::text, s.status, s.started_at, s.finished_at, s.output,
         s.error_message, s.skip_reason, s.initial_tasks is not distinct from 0
  from pgflow.runs r
  join pgflow.step_states s on s.run_id = r.run_id
  left join pgflow.steps p
    on p.flow_slug = r.flow_slug and p.flow_version = r.flow_version and p.step_slug = s.step_slug
  where r.run_id = $1 and s.run_id = $1 and ($2::text[] is null or s.step_slug = any ($2))) c
cross join lateral (
  select case when not $3 or c.status <> 'completed' or c.output is null then null
              when pg_column_size(c.output) > 8 * $4::bigint then false
              else octet_length(c.output::text) <= $4 end as fits
  offset 0) o
cross join lateral (
  select case when o.fits then c.output::text end as output,
         case when $3 then left(c.error_message, 1000) end as error_message,
         case when $3 then c.skip_reason end as skip_reason,
         coalesce(not o.fits, false) or $3 and coalesce(length(c.error_message) > 1000, false) as is_cut
  offset 0) m
