-- Counts down the leaves of runs, and completes the runs that have none left and no step open. Returns the ordinals of
-- the runs that are over, whether their output may be too large (those are left open), and whether they are children.
-- Updates the runs; the caller holds their locks.
with counted as materialized (
  select u.run_id, u.ended, u.ordinal,
         r.remaining_leaves = u.ended
           and not exists (select from pgflow.step_states s
                           where s.run_id = u.run_id and s.status in ('pending', 'started')
                           offset 0) as is_over
  from unnest($1::uuid[], $2::int[]) with ordinality u(run_id, ended, ordinal)
  join pgflow.runs r on r.run_id = u.run_id
), measured as materialized (
  select c.*,
         c.is_over and not $4 and
         (select coalesce(sum(pg_column_size(s.output)), 0) > $6
          from unnest($3::text[]) o(step_slug)
          cross join lateral (
            select s.output from pgflow.step_states s
            where s.run_id = c.run_id and s.step_slug = o.step_slug and s.status = 'completed' offset 0) s) as too_large
  from counted c
)
update pgflow.runs r
set remaining_leaves = r.remaining_leaves - m.ended,
    status = case when m.is_over and not m.too_large then 'completed' else r.status end,
    finished_at = case when m.is_over and not m.too_large then $5::timestamptz end,
    output = case
               when not m.is_over or m.too_large then null
               when $4 then (select s.output from pgflow.step_states s
                             where s.run_id = r.run_id and s.step_slug = ($3::text[])[1] and s.status = 'completed')
               else (select jsonb_object_agg(o.step_slug, s.output)
                     from unnest($3::text[]) o(step_slug)
                     cross join lateral (
                       select s.output from pgflow.step_states s
                       where s.run_id = r.run_id and s.step_slug = o.step_slug and s.status = 'completed' offset 0) s)
             end
from measured m
where r.run_id = m.run_id
returning case when m.is_over then m.ordinal end, m.too_large, r.parent_step_slug is not null
