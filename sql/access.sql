-- Nothing is granted to PUBLIC, and what each function is for. Comes last, when all functions exist.

REVOKE ALL ON SCHEMA pgflow, pgflow_locks FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA pgflow, pgflow_locks FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgflow, pgflow_locks FROM PUBLIC;
-- Not on the row types of tables: pg_dump would warn of each of them at every dump, and whoever cannot use the schema
-- cannot name them.
REVOKE ALL ON TYPE pgflow.claimed_task, pgflow.task_receipt FROM PUBLIC;

COMMENT ON FUNCTION pgflow.create_flow IS 'Makes a flow, or changes the options of its latest version; equal options change nothing, and a version that has run makes way for the next. base_delay, timeout and max_delay are seconds. Errors: 22023 option out of range, 42501 the flow is somebody else''s.';
COMMENT ON FUNCTION pgflow.add_step IS 'Adds a step to the latest version of a flow, or changes it; equal options change nothing, and a version that has run makes way for the next. base_delay, timeout and start_delay are seconds. Errors: PT404 unknown flow or dep, 22023 fault of the definition.';
COMMENT ON FUNCTION pgflow.define_flow IS 'Makes or changes a flow as one document with the fields of create_flow and add_step; the same shape again changes nothing. Errors: 22023 with every fault of the document and its JSON path; then nothing is stored.';
COMMENT ON FUNCTION pgflow.delete_flow IS 'Deletes a flow with all its versions and, if with_runs, its runs. Errors: PT404 unknown flow, PT409 it has runs.';
COMMENT ON FUNCTION pgflow.flow_graph IS 'The steps and deps of a version, the latest by default: {"flow_slug", "version", "steps": […], "deps": […]}. Changes nothing. Errors: PT404 unknown flow or version.';
COMMENT ON FUNCTION pgflow.run_flow IS 'Starts a run of the latest version of a flow and returns its id. The same idempotency_key for the same flow and creator returns the first run''s id and starts nothing; a start_at that lies ahead delays the root tasks. Errors: PT404 unknown flow, PT409 unknown output step, 22023 payload of a root map is no array.';
COMMENT ON FUNCTION pgflow.run_flows IS 'Starts a run for each of up to 100,000 payloads and returns the ids in the same order. Errors: as run_flow, and 22023 when idempotency_keys are given and not as many as payloads; then no run is started.';
COMMENT ON FUNCTION pgflow.start_step IS 'Starts a pending step whose deps are resolved, a manual one that is, and returns its state; one that has started or ended is returned unchanged. Errors: PT404 unknown run or step, PT409 unresolved deps.';
COMMENT ON FUNCTION pgflow.claim_step_tasks IS 'Hands out up to max_tasks (0 to 10,000) ready tasks of a queue, each with a lease of lease_seconds, else of its step''s timeout, and never waits for a lock. Ends attempts whose lease ran out.';
COMMENT ON FUNCTION pgflow.complete_step_task IS 'Completes a claimed task with its output and starts what waited for it; an SQL NULL output counts as JSON null. A lease that is no longer the task''s is refused by accepted = false. Errors: PT404 unknown run, step or task.';
COMMENT ON FUNCTION pgflow.fail_step_task IS 'Fails an attempt at a claimed task: the next one is ready after retry_after seconds, else after the step''s backoff. When no attempt is left or retryable is false, the step''s when_exhausted decides. Errors: PT404 unknown run, step or task.';
COMMENT ON FUNCTION pgflow.extend_step_task IS 'Lets the lease of a claimed task run for lease_seconds, else its step''s timeout, from now on. Changes nothing else and takes no run''s lock. Errors: PT404 unknown run, step or task.';
COMMENT ON FUNCTION pgflow.release_step_task IS 'Hands a claimed task back: the same attempt is queued again at once, and none is burnt. Errors: PT404 unknown run, step or task.';
COMMENT ON FUNCTION pgflow.settle_step_tasks IS 'Settles up to 1,000 tasks of any runs in one pass: completes those with an output, fails those with an error_message, releases those with release = true. Receipts come in the order of the results. Errors: 22023 malformed results, with the JSON path; then nothing changes.';
COMMENT ON FUNCTION pgflow.settle_and_claim IS 'Settles results as settle_step_tasks does, then claims the next tasks as claim_step_tasks does, in one call.';
COMMENT ON FUNCTION pgflow.complete_step IS 'Finishes a started external step with its output, or settles the only task of another single step whoever holds its lease. Errors: PT404 unknown run or step, 22023 the step is a map.';
COMMENT ON FUNCTION pgflow.cancel_run IS 'Cancels a run with its unfinished steps and attempts and keeps the reason as its error_message; a run that has ended is returned unchanged. Errors: PT404 unknown run.';
COMMENT ON FUNCTION pgflow.retry_run IS 'Puts a failed or cancelled run back to started: what is completed or skipped stays, the rest is ready at once with a new budget of attempts. Errors: PT404 unknown run, PT409 neither failed nor cancelled.';
COMMENT ON FUNCTION pgflow.fork_run IS 'Starts a new run on the version of an ended one and returns its id: the named steps, what is downstream of them and what had not resolved run again, the others keep their state and output. Errors: PT404 unknown run or step, PT409 not ended, 22023 payload of a root map is no array.';
COMMENT ON FUNCTION pgflow.get_run IS 'A run with its steps in order of definition, as one object: {"run": {…}, "steps": […]}, with the counts of tasks and attempts of each step. Changes nothing. Errors: PT404 unknown run.';
COMMENT ON FUNCTION pgflow.prune_runs IS 'Deletes up to max_runs runs that ended longer ago than older_than, the oldest first, with their steps, attempts and idempotency keys, and returns how many. Errors: 22023 older_than is negative.';
COMMENT ON FUNCTION pgflow.run_upkeep IS 'Does what the background worker does, once, and returns when there is something to do again; null for nothing in sight.';
COMMENT ON FUNCTION pgflow.check_integrity IS 'Every invariant of the engine that is violated, with its run; no rows when all is well. Changes nothing; reads every table as a whole, which takes some seconds for each hundred thousand attempts.';

COMMENT ON FUNCTION pgflow_locks.run_key IS 'The key of the advisory lock of a run: the last 64 bits of its id. NULL for NULL.';
COMMENT ON FUNCTION pgflow_locks.queue_key IS 'The key of the advisory lock that a worker shares while it waits for tasks of a queue: the FNV-1a hash of the queue''s bytes. NULL for NULL.';
COMMENT ON FUNCTION pgflow_locks.lock_run IS 'Takes the lock of a run until the transaction ends, waiting for whoever has it: nothing moves the run meanwhile. Errors: 22004 run_id is null.';
