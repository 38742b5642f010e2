-- For each run, in the order given: its key, when it was created, and by and for whom.
-- Locks nothing.
select r.key, r.created_at, r.created_by::text, r.created_for
from unnest($1::uuid[]) with ordinality u(run_id, ordinal)
join pgflow.runs r on r.run_id = u.run_id
order by u.ordinal
