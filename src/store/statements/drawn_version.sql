-- A version to be drawn, the latest when $2 is null, and how many deps it has; no row when there is none.
-- Locks nothing.
select v.version,
       (select count(*) from pgflow.deps d where d.flow_slug = v.flow_slug and d.flow_version = v.version)
from pgflow.flows f
join pgflow.flow_versions v on v.flow_slug = f.flow_slug and v.version = coalesce($2, f.version)
where f.flow_slug = $1
