-- When the next schedule ticks.
-- Locks nothing.
select s.next_run_at from pgflow.schedules s where s.next_run_at is not null order by s.next_run_at limit 1
