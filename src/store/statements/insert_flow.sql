-- A new flow; no row when someone else has made it.
-- Waits for whoever is making or deleting a flow of this slug.
insert into pgflow.flows (flow_slug, version, owner, description, created_at, updated_at)
values ($1, 1, $2, $3, $4, $4)
on conflict do nothing
returning version
