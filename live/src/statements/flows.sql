-- Flows that the role in force sees.
-- Locks nothing.
select coalesce(json_agg(f order by f.flow_slug), '[]')::text
from (select f.flow_slug, f.version, f.description from pgflow.flows f) f
