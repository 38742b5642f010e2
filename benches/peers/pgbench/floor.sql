-- The floor: what an expert would write by hand for one workflow, a chain of three steps, and nothing else. The tables
-- keep what pgflow's keep of it: runs, the states of their steps, every attempt, and beside this history a small hot
-- table of ready and leased tasks.

CREATE SCHEMA floor;

CREATE TABLE floor.runs (
  run_id      uuid PRIMARY KEY,
  status      text NOT NULL,
  payload     jsonb NOT NULL,
  output      jsonb,
  created_at  timestamptz NOT NULL,
  finished_at timestamptz
) WITH (fillfactor = 60);

CREATE TABLE floor.step_states (
  run_id      uuid NOT NULL,
  step_slug   text COLLATE "C" NOT NULL,
  status      text NOT NULL,
  output      jsonb,
  created_at  timestamptz NOT NULL,
  started_at  timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (run_id, step_slug)
) WITH (fillfactor = 50);

CREATE TABLE floor.step_tasks (
  run_id      uuid NOT NULL,
  step_slug   text COLLATE "C" NOT NULL,
  attempt     int NOT NULL,
  status      text NOT NULL,
  output      jsonb,
  queued_at   timestamptz NOT NULL,
  started_at  timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (run_id, step_slug, attempt)
) WITH (fillfactor = 50);

CREATE TABLE floor.live_tasks (
  run_id           uuid NOT NULL,
  step_slug        text COLLATE "C" NOT NULL,
  attempt          int NOT NULL,
  ready_at         timestamptz NOT NULL,
  lease            bigint,
  lease_expires_at timestamptz,
  PRIMARY KEY (run_id, step_slug)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);

CREATE INDEX live_tasks_ready ON floor.live_tasks (ready_at) WHERE lease IS NULL;
-- For the sweeper that would take back what ran out; no lease does here.
CREATE INDEX live_tasks_leased ON floor.live_tasks (lease_expires_at) WHERE lease IS NOT NULL;
