-- The latest version of a flow.
-- Locks nothing.
select v.version, v.definition_id, v.frozen_at is not null
from pgflow.flows f
join pgflow.flow_versions v on v.flow_slug = f.flow_slug and v.version = f.version
where f.flow_slug = $1
