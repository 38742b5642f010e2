-- Whether a run of the latest version of a flow would have to wait: nobody has run it yet, and someone else does so just
-- now, or changes it. No row when there is no such flow.
-- Locks the row of a version that is not frozen, if it is free.
with free as materialized (
  select v.version
  from pgflow.flows f
  join pgflow.flow_versions v on v.flow_slug = f.flow_slug and v.version = f.version
  where f.flow_slug = $1 and v.frozen_at is null
  for no key update of v skip locked
)
select v.frozen_at is null and not exists (select from free)
from pgflow.flows f
join pgflow.flow_versions v on v.flow_slug = f.flow_slug and v.version = f.version
where f.flow_slug = $1
