-- Moves a schedule on to its next tick: $2 is the last tick dealt with, $3 the last run it started, $4 why it failed.
-- Updates the schedule, whose row the caller has locked.
update pgflow.schedules s
set last_tick_at = $2, next_run_at = $5,
    last_run_id = coalesce($3, s.last_run_id),
    last_run_at = case when $3 is null then s.last_run_at else $6 end,
    last_error = case when $3 is null then coalesce($4, s.last_error) end
where s.name = $1
