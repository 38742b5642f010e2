-- Leaves errands for upkeep.
-- Inserts them; waits for nobody.
insert into pgflow.errands (run_id, errand_id, kind, due_at)
select u.run_id, u.errand_id, u.kind, u.due_at
from unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[]) u(run_id, errand_id, kind, due_at)
