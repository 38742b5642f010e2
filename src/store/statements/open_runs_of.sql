-- Which of these runs have not ended.
-- Locks nothing.
select r.run_id from unnest($1::uuid[]) u(run_id)
join pgflow.runs r on r.run_id = u.run_id
where r.status in ('pending', 'started')
