-- Runs that the role in force sees, the newest first: of flow $1, with status $2, older than run $3, each unless it is null;
-- $4 of them.
-- Locks nothing.
select coalesce(json_agg(r), '[]')::text
from (
  select r.run_id, r.flow_slug, r.flow_version, r.status, r.key, r.created_at, r.started_at, r.finished_at, r.error_message
  from pgflow.runs r
  where ($1::text is null or r.flow_slug = $1) and ($2::text is null or r.status = $2) and ($3::uuid is null or r.run_id < $3)
  order by r.run_id desc
  limit $4) r
