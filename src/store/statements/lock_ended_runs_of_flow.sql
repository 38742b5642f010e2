-- lock_ended_runs.sql for the runs of one flow.
-- Locks them; skips runs that someone else holds.
select r.run_id from pgflow.runs r
where r.flow_slug = $5 and r.run_id > $1 and r.run_id < $3 and r.finished_at < $2
  and not exists (select from pgflow.errands e where e.run_id = r.run_id offset 0)
order by r.run_id
limit $4
for update skip locked
