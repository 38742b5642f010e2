-- Where things stand. Transitions find rows by key, so nothing here is indexed that changes: updates stay HOT.
-- There are no foreign keys between these tables and no triggers on them: the engine is their only writer, and
-- check_integrity() says what a foreign key would have refused.
-- Columns stand in the order in which they get their last value, those of fixed length first among those that never change: a new
-- version of a row is logged as its difference from the old one, and what stands behind a text is found by walking over it.

CREATE TABLE pgflow.runs (
  run_id            uuid NOT NULL,
  created_at        timestamptz NOT NULL,
  definition_id     bigint NOT NULL,
  flow_version      int NOT NULL,
  priority          int NOT NULL,
  created_by        name NOT NULL,
  flow_slug         text COLLATE "C" NOT NULL,
  payload           jsonb NOT NULL,
  key               text,
  idempotency_key   text,
  created_for       text,
  parent_run_id     uuid,
  parent_step_slug  text COLLATE "C",
  parent_task_index int,
  parent_lease      bigint,
  depth             int,
  start_at          timestamptz,
  large             boolean NOT NULL,
  started_at        timestamptz,
  remaining_leaves  int NOT NULL,
  status            text NOT NULL,
  finished_at       timestamptz,
  output            jsonb,
  error_message     text,
  CONSTRAINT "a run is known by its id" PRIMARY KEY (run_id)
) WITH (fillfactor = 45);
COMMENT ON TABLE pgflow.runs IS 'One row for each execution of a flow.';
COMMENT ON COLUMN pgflow.runs.created_by IS 'The role in force when run_flow was called.';
COMMENT ON COLUMN pgflow.runs.created_for IS 'The sub claim of the request, when an API gateway of gateway_roles made it.';
COMMENT ON COLUMN pgflow.runs.parent_run_id IS 'The run that this one was forked from or is a child of. It may have been pruned.';
COMMENT ON COLUMN pgflow.runs.start_at IS 'When the run may start; null for at once.';
COMMENT ON COLUMN pgflow.runs.definition_id IS 'The definition that the run took, see flow_versions.';
COMMENT ON COLUMN pgflow.runs.remaining_leaves IS 'How many steps without dependents have not ended.';
COMMENT ON COLUMN pgflow.runs.large IS 'Whether its payload or an output is so large that an input built of them, or its own output, may exceed what jsonb can hold.';
COMMENT ON COLUMN pgflow.runs.parent_step_slug IS 'The step of the parent that the run is a child of; null for a fork.';
COMMENT ON COLUMN pgflow.runs.parent_lease IS 'The lease of the parent''s task that waits for this run; null when none does: the run is no child, or was retried when its parent had gone on.';
COMMENT ON COLUMN pgflow.runs.depth IS 'How many runs a child is nested in; null for a run that is no child.';

CREATE INDEX runs_by_flow ON pgflow.runs (flow_slug, run_id);
-- Of columns that never change, and of children only.
CREATE INDEX runs_by_parent ON pgflow.runs (parent_run_id, parent_step_slug, parent_task_index, run_id)
  WHERE parent_step_slug IS NOT NULL;

CREATE TABLE pgflow.idempotency_keys (
  run_id          uuid NOT NULL,
  flow_slug       text COLLATE "C" NOT NULL,
  idempotency_key text COLLATE "C" NOT NULL,
  created_by      name NOT NULL,
  created_for     text COLLATE "C",
  CONSTRAINT "a run has one idempotency key" PRIMARY KEY (run_id),
  CONSTRAINT "an idempotency key starts one run" UNIQUE NULLS NOT DISTINCT (idempotency_key, flow_slug, created_by, created_for)
);
COMMENT ON TABLE pgflow.idempotency_keys IS 'The idempotency keys of the runs that are kept.';

CREATE TABLE pgflow.step_states (
  run_id          uuid NOT NULL,
  created_at      timestamptz NOT NULL,
  step_slug       text COLLATE "C" NOT NULL,
  flow_slug       text COLLATE "C" NOT NULL,
  is_counted      boolean NOT NULL DEFAULT true,
  remaining_deps  int NOT NULL,
  initial_tasks   int,
  started_at      timestamptz,
  remaining_tasks int,
  status          text NOT NULL,
  finished_at     timestamptz,
  output          jsonb,
  error_message   text,
  skip_reason     text,
  CONSTRAINT "a step state is known by its run and step" PRIMARY KEY (run_id, step_slug)
) WITH (fillfactor = 50);
COMMENT ON TABLE pgflow.step_states IS 'Where each step of each run stands.';
COMMENT ON COLUMN pgflow.step_states.remaining_deps IS 'How many deps are not resolved, that is completed or skipped.';
COMMENT ON COLUMN pgflow.step_states.initial_tasks IS 'How many tasks the step has; null until it starts.';
COMMENT ON COLUMN pgflow.step_states.remaining_tasks IS 'How many tasks have not completed; 0 when the step has ended, null before it starts. Lags while the step is not counted.';
COMMENT ON COLUMN pgflow.step_states.is_counted IS 'Whether remaining_tasks is counted down; for a large map only once all its tasks have been handed out.';

CREATE TABLE pgflow.step_tasks (
  run_id        uuid NOT NULL,
  queued_at     timestamptz NOT NULL,
  task_index    int NOT NULL,
  attempt       int NOT NULL,
  step_slug     text COLLATE "C" NOT NULL,
  flow_slug     text COLLATE "C" NOT NULL,
  worker_id     text,
  started_at    timestamptz,
  status        text NOT NULL,
  finished_at   timestamptz,
  output        jsonb,
  error_message text,
  CONSTRAINT "an attempt is known by its task and number" PRIMARY KEY (run_id, step_slug, task_index, attempt)
) WITH (fillfactor = 40);
COMMENT ON TABLE pgflow.step_tasks IS 'Every attempt at every task, for as long as its run is kept.';

-- What a claim changes stands last and beside each other, and the page has room for it.
CREATE TABLE pgflow.live_tasks (
  run_id           uuid NOT NULL,
  definition_id    bigint NOT NULL,
  turn             bigint NOT NULL,
  ready_at         timestamptz NOT NULL,
  task_index       int NOT NULL,
  attempt          int NOT NULL,
  first_attempt    int NOT NULL,
  step_index       int NOT NULL,
  flow_version     int NOT NULL,
  rank             int NOT NULL,
  timeout          int NOT NULL,
  opens_run        boolean NOT NULL,
  executor         "char" NOT NULL,
  step_slug        text COLLATE "C" NOT NULL,
  flow_slug        text COLLATE "C" NOT NULL,
  queue            text COLLATE "C" NOT NULL,
  item             jsonb,
  status           text NOT NULL,
  lease            bigint,
  lease_expires_at timestamptz,
  -- The tasks of a map differ in their index, which costs less to compare than a slug; and a key has one entry for each
  -- version of its row until the old ones are cleared away, which is soon: to merge them is work for nothing.
  CONSTRAINT "a live task is known by its run, step and index" PRIMARY KEY (run_id, task_index, step_slug)
    WITH (deduplicate_items = off)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE pgflow.live_tasks IS 'The tasks that wait or are being worked on: the small hot table beside the history in step_tasks.';
COMMENT ON COLUMN pgflow.live_tasks.attempt IS 'The number of the latest attempt, which is a row of step_tasks.';
COMMENT ON COLUMN pgflow.live_tasks.first_attempt IS 'The attempt that opened the current budget of max_attempts.';
COMMENT ON COLUMN pgflow.live_tasks.rank IS 'The complement of the priority of the run (~priority): the highest priority comes first.';
COMMENT ON COLUMN pgflow.live_tasks.turn IS 'The place in the queue within a rank: a start tag of start-time fair queueing.';
COMMENT ON COLUMN pgflow.live_tasks.opens_run IS 'Whether the run was pending when this task was queued: a claim or settlement of it then turns the run to started.';
COMMENT ON COLUMN pgflow.live_tasks.timeout IS 'Seconds for which a lease lasts when the claimer names no other time; 0 for ever.';
COMMENT ON COLUMN pgflow.live_tasks.executor IS 'The first letter of the executor of the step.';
COMMENT ON COLUMN pgflow.live_tasks.item IS 'The element that a task of a map step works on.';

-- Three walks of a claim: what is ready, what has fallen due, whose lease has run out. None of them meets a row of
-- another kind. Ready tasks that were started together have the same place in the queue; merged into one entry they would be
-- passed over, one by one, until the last of them is claimed.
CREATE INDEX live_tasks_ready ON pgflow.live_tasks (queue, executor, rank, turn, ready_at, step_index, task_index)
  WITH (deduplicate_items = off) WHERE status = 'ready';
CREATE INDEX live_tasks_due ON pgflow.live_tasks (queue, executor, ready_at) WHERE status = 'delayed';
CREATE INDEX live_tasks_leased ON pgflow.live_tasks (queue, lease_expires_at) WHERE status = 'started';

CREATE TYPE pgflow.claimed_task AS (
  run_id           uuid,
  flow_slug        text,
  step_slug        text,
  task_index       int,
  attempt          int,
  input            jsonb,
  lease            bigint,
  lease_expires_at timestamptz
);
COMMENT ON TYPE pgflow.claimed_task IS 'A task as a worker gets it: what to work on, and the lease that proves whose it is.';

CREATE TYPE pgflow.task_receipt AS (
  run_id      uuid,
  step_slug   text,
  task_index  int,
  accepted    boolean,
  task_status text,
  step_status text,
  run_status  text
);
COMMENT ON TYPE pgflow.task_receipt IS 'What a settlement found: whether it was accepted, and where the task, its step and its run stand after the call.';

SELECT pg_catalog.pg_extension_config_dump('pgflow.flows', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.flow_versions', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.steps', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.deps', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.gateway_roles', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.runs', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.idempotency_keys', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.step_states', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.step_tasks', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.live_tasks', '');
