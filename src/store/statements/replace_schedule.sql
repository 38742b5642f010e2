-- Gives a schedule another content; what it has done so far stays.
-- Updates the schedule, whose row the caller has locked.
update pgflow.schedules s
set flow_slug = $2, cron = $3, payload = $4, time_zone = $5, catch_up = $6, priority = $7, key = $8, next_run_at = $9,
    last_error = null, updated_at = $10
where s.name = $1
returning s
