-- Writes edges of a version that no run has seen, one from each place of the arrays.
-- The row of the version is locked by the caller.
insert into pgflow.deps (flow_slug, flow_version, from_step_slug, to_step_slug)
select $1, $2, d.from_step_slug, d.to_step_slug
from unnest($3::text[], $4::text[]) as d (from_step_slug, to_step_slug)
