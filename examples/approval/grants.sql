-- Who may do what with the flow. Its owner says so.

-- Employees start runs and see their own, each only theirs.
SELECT pgflow.grant_run('expense', 'employee');
-- Managers see no runs; they complete this step, in every run whose id they know.
SELECT pgflow.grant_step('expense', 'approve', 'manager');
-- Changes are told to who watches.
SELECT pgflow.set_realtime('expense');
