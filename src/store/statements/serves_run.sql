-- Whether one of the roles $1 was granted the queue of any step of the run $2.
-- Locks nothing.
select exists (
  select
  from pgflow.runs r
  join pgflow.steps s on s.flow_slug = r.flow_slug and s.flow_version = r.flow_version
  join pgflow.queue_grants g on g.queue = s.queue and g.role_name = any($1::text[]::name[])
  where r.run_id = $2)
