-- Whether a version that no run has seen is free to be frozen.
-- Locks the row of the version; no row when someone else holds it.
select from pgflow.flow_versions v
where v.flow_slug = $1 and v.version = $2
for no key update skip locked
