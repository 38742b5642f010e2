-- The commands that add the tables of runs and steps to a publication, and of attempts ($2), where they are not in it.
-- Locks nothing.
select format('alter publication %I add table only pgflow.%I', $1::text, t.name)
from unnest(array['runs', 'step_states', 'step_tasks']) with ordinality t(name, ordinal)
where (t.name <> 'step_tasks' or $2)
  and not exists (select from pg_catalog.pg_publication_tables p
                  where p.pubname = $1::text::name and p.schemaname = 'pgflow' and p.tablename = t.name)
order by t.ordinal
