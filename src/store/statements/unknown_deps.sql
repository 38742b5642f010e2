-- Those of the slugs that no step of a version has, in the order given. A subquery and no join: planned while the table
-- was small, a join may look at all steps of the version for each slug.
-- Locks nothing: the lock of the flow keeps definers away.
select d.step_slug
from unnest($3::text[]) with ordinality as d (step_slug, place)
where (select true from pgflow.steps s
       where s.flow_slug = $1 and s.flow_version = $2 and s.step_slug = d.step_slug) is null
order by d.place
