-- Takes the secrets of a flow ($1) away, or those of all flows that have none of their own.
-- Deletes the row.
delete from pgflow.http_secrets where flow_slug = coalesce($1, '')
