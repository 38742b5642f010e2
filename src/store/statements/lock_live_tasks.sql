-- Waits for whoever holds a live task of these runs, or of one step of each ($2 not null). A statement of its own: the
-- next one sees what a claimer committed meanwhile, new attempts included.
-- Locks the live rows; the caller holds the locks of the runs.
select from unnest($1::uuid[], $2::text[]) u(run_id, step_slug)
cross join lateral (
  select from pgflow.live_tasks t
  where t.run_id = u.run_id and (u.step_slug is null or t.step_slug = u.step_slug)
  for update) t
