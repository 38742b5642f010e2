-- Runs that ended before $2, from id $1 to below $3, the oldest first, $4 at most; not those whose end has not yet reached
-- their parent and children.
-- Locks them; skips runs that someone else holds.
select r.run_id from pgflow.runs r
where r.run_id > $1 and r.run_id < $3 and r.finished_at < $2
  and not exists (select from pgflow.errands e where e.run_id = r.run_id offset 0)
order by r.run_id
limit $4
for update skip locked
