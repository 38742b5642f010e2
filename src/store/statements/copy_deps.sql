-- The deps of a version, once more for the next one.
-- Locks nothing that others wait for.
insert into pgflow.deps (flow_slug, flow_version, from_step_slug, to_step_slug)
select flow_slug, $3, from_step_slug, to_step_slug
from pgflow.deps
where flow_slug = $1 and flow_version = $2
