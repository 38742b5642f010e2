-- Gives a flow ($1), or all flows that have none of their own, these secrets.
-- Inserts or updates the row.
insert into pgflow.http_secrets (flow_slug, secrets, updated_at) values (coalesce($1, ''), $2, $3)
on conflict on constraint "a flow has one list of secrets"
do update set secrets = excluded.secrets, updated_at = excluded.updated_at
