-- A new schedule; no row when someone else has made it.
-- Waits for whoever is making or removing a schedule of this name.
insert into pgflow.schedules as s
  (name, flow_slug, cron, payload, time_zone, catch_up, priority, key, next_run_at, owner, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::name, $11, $11)
on conflict do nothing
returning s
