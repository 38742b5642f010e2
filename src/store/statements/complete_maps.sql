-- Completes map steps with the array of their tasks' outputs, in the order of the tasks, unless these are larger than
-- $4 bytes as stored, all together. Returns which it completed, and the size of the array.
-- Updates the states; the caller holds the locks of the runs.
with measured as materialized (
  select u.*, (select coalesce(sum(pg_column_size(t.output)), 0) from pgflow.step_tasks t
               where t.run_id = u.run_id and t.step_slug = u.step_slug and t.status = 'completed') <= $4 as fits
  from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, step_slug, ordinal)
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
select g.ordinal, g.fits, pg_column_size(g.output)::bigint from gathered g
