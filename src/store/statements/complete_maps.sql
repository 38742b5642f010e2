-- Completes map steps with the array of their tasks' outputs, in the order of the tasks, unless these are larger than
-- $4 bytes as stored, all together, or some of them are not to be seen: then the snapshot is older than they are. Returns
-- which it completed, the size of the array, and whether all outputs were seen.
-- Updates the states; the caller holds the locks of the runs.
with measured as materialized (
  select u.run_id, u.step_slug, u.ordinal, c.completed = s.initial_tasks as is_whole,
         c.completed = s.initial_tasks and c.bytes <= $4 as fits
  from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, step_slug, ordinal)
  join pgflow.step_states s on s.run_id = u.run_id and s.step_slug = u.step_slug
  cross join lateral (
    select count(*) as completed, coalesce(sum(pg_column_size(t.output)), 0) as bytes from pgflow.step_tasks t
    where t.run_id = u.run_id and t.step_slug = u.step_slug and t.status = 'completed') c
), gathered as materialized (
  select m.*, case when m.fits then
           (select coalesce(jsonb_agg(t.output order by t.task_index), '[]') from pgflow.step_tasks t
            where t.run_id = m.run_id and t.step_slug = m.step_slug and t.status = 'completed')
         end as output
  from measured m
), completed as (
  update pgflow.step_states s
  set status = 'completed', output = g.output, remaining_tasks = 0, finished_at = $3
  from gathered g
  where g.fits and s.run_id = g.run_id and s.step_slug = g.step_slug
)
select g.ordinal, g.fits, pg_column_size(g.output)::bigint, g.is_whole from gathered g
