-- Counts down the leaves of runs, and completes the runs that have none left and no step open. Those whose output may be too
-- large are left open unless $6. Returns the ordinals of the runs that are over, whether they were left open, whether
-- they are children; and for each run how many leaves are left.
-- OFFSET 0 has each answer worked out once.
-- Updates the runs; the caller holds their locks.
update pgflow.runs r
set remaining_leaves = r.remaining_leaves - c.ended,
    status = case when c.is_closed then 'completed' else r.status end,
    finished_at = case when c.is_closed then $5::timestamptz end,
    output = case
               when not c.is_closed then null
               when $4 then (select s.output
                             from unnest($3::text[]) w(step_slug)
                             cross join lateral (
                               select s.output from pgflow.step_states s
                               where s.run_id = r.run_id and s.step_slug = w.step_slug and s.status = 'completed' offset 0) s)
               else (select jsonb_object_agg(w.step_slug, s.output)
                     from unnest($3::text[]) w(step_slug)
                     cross join lateral (
                       select s.output from pgflow.step_states s
                       where s.run_id = r.run_id and s.step_slug = w.step_slug and s.status = 'completed' offset 0) s)
             end
from (
  select u.run_id, u.ended, u.ordinal, o.is_over, o.is_over and o.may_be_closed as is_closed
  from unnest($1::uuid[], $2::int[]) with ordinality u(run_id, ended, ordinal)
  cross join lateral (
    select o.remaining_leaves = u.ended
             and not exists (select from pgflow.step_states s
                             where s.run_id = u.run_id and s.status in ('pending', 'started')
                             offset 0) as is_over,
           $6 or not o.large as may_be_closed
    from pgflow.runs o where o.run_id = u.run_id
    offset 0) o
  offset 0) c
where r.run_id = c.run_id
returning case when c.is_over then c.ordinal end, not c.is_closed, r.parent_step_slug is not null, r.remaining_leaves
