-- What falls due by the clock and is no task: ticks of schedules, and the last moment of runs that have a run_timeout.

CREATE TABLE pgflow.schedules (
  name         text COLLATE "C" NOT NULL,
  flow_slug    text COLLATE "C" NOT NULL,
  cron         text NOT NULL,
  payload      jsonb NOT NULL,
  time_zone    text NOT NULL,
  catch_up     text NOT NULL,
  priority     int NOT NULL,
  key          text,
  owner        name NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  next_run_at  timestamptz,
  last_tick_at timestamptz,
  last_run_at  timestamptz,
  last_run_id  uuid,
  last_error   text,
  CONSTRAINT "a schedule is known by its name" PRIMARY KEY (name),
  CONSTRAINT "missed ticks start no run, one or all" CHECK (catch_up IN ('none', 'one', 'all'))
);
COMMENT ON TABLE pgflow.schedules IS 'One row for each schedule: which flow is run, and when.';
COMMENT ON COLUMN pgflow.schedules.cron IS 'When it ticks: five fields, or six of which the first is seconds, or a nickname such as @hourly.';
COMMENT ON COLUMN pgflow.schedules.time_zone IS 'The zone whose wall clock the cron expression is about.';
COMMENT ON COLUMN pgflow.schedules.catch_up IS 'What becomes of ticks that were missed: none start a run, one does (the latest), or all do.';
COMMENT ON COLUMN pgflow.schedules.owner IS 'The role that made the schedule, and that creates its runs; its members may replace and remove it.';
COMMENT ON COLUMN pgflow.schedules.next_run_at IS 'The next tick; null when there is none.';
COMMENT ON COLUMN pgflow.schedules.last_tick_at IS 'The last tick that was dealt with: it started a run, was skipped, or failed to start one.';
COMMENT ON COLUMN pgflow.schedules.last_run_at IS 'When the last run was started.';
COMMENT ON COLUMN pgflow.schedules.last_run_id IS 'The last run. It may have been pruned.';
COMMENT ON COLUMN pgflow.schedules.last_error IS 'Why the last attempt to start a run failed; null when it succeeded.';

CREATE INDEX schedules_by_next_run ON pgflow.schedules (next_run_at);

CREATE TABLE pgflow.run_deadlines (
  run_id uuid NOT NULL,
  due_at timestamptz NOT NULL,
  CONSTRAINT "a run has one deadline" PRIMARY KEY (run_id)
);
COMMENT ON TABLE pgflow.run_deadlines IS 'When runs of versions with a run_timeout fail. The row of a run that ended in time goes when it falls due, or with the run.';

CREATE INDEX run_deadlines_by_due ON pgflow.run_deadlines (due_at);

SELECT pg_catalog.pg_extension_config_dump('pgflow.schedules', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.run_deadlines', '');
