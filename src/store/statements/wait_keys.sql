-- For each run, in the order given: its key, and when it was created.
-- Locks nothing.
select r.key, r.created_at
from unnest($1::uuid[]) with ordinality u(run_id, ordinal)
join pgflow.runs r on r.run_id = u.run_id
order by u.ordinal
