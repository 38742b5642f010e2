-- The role in force, and whether it may cancel and retry runs.
-- Locks nothing.
select json_build_object(
  'role', current_user,
  'manages_runs', has_function_privilege('pgflow.cancel_run(uuid, text)', 'execute')
                  and has_function_privilege('pgflow.retry_run(uuid)', 'execute'))::text
