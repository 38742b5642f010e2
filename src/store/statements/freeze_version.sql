-- Freezes a version for its first run; no row when it is frozen already.
-- Updates the row of flow_versions.
update pgflow.flow_versions v set frozen_at = $3
where v.flow_slug = $1 and v.version = $2 and v.frozen_at is null
returning v.definition_id
