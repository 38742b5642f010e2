-- When runs fail unless they end before.
-- Inserts deadlines, or moves them; waits for whoever sweeps them.
insert into pgflow.run_deadlines as d (run_id, due_at)
select u.run_id, $2 from unnest($1::uuid[]) u(run_id)
on conflict on constraint "a run has one deadline" do update set due_at = excluded.due_at
