-- What holds tasks back, and who asks for them. A queue without a row here is neither limited nor paused, which is what
-- nearly all of them are: the claim asks for the row with one look into an index.

CREATE TABLE pgflow.queues (
  queue               text COLLATE "C" NOT NULL,
  is_paused           boolean NOT NULL DEFAULT false,
  max_running         int,
  max_running_per_key int,
  max_started         int,
  max_started_per_key int,
  period              interval NOT NULL DEFAULT '1 minute',
  claims              bigint NOT NULL DEFAULT 0,
  awaits              text[],
  CONSTRAINT "a queue is known by its name" PRIMARY KEY (queue),
  CONSTRAINT "a limit is not negative"
    CHECK (max_running >= 0 AND max_running_per_key >= 0 AND max_started >= 0 AND max_started_per_key >= 0),
  CONSTRAINT "a period is longer than nothing" CHECK (period > '0')
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE pgflow.queues IS 'The queues that are limited or paused.';
COMMENT ON COLUMN pgflow.queues.is_paused IS 'Whether nothing of the queue is handed out.';
COMMENT ON COLUMN pgflow.queues.max_running IS 'How many tasks may be under way at once, of all executors together; null for any number.';
COMMENT ON COLUMN pgflow.queues.max_running_per_key IS 'How many of them may belong to runs of one key.';
COMMENT ON COLUMN pgflow.queues.max_started IS 'How many attempts may be started in any window as long as the period; null for any number.';
COMMENT ON COLUMN pgflow.queues.max_started_per_key IS 'How many of them may belong to runs of one key.';
COMMENT ON COLUMN pgflow.queues.period IS 'The length of the window in which starts are counted.';
COMMENT ON COLUMN pgflow.queues.claims IS 'Changed by each claim of a limited queue, so that a claim that cannot see the one before it fails.';
COMMENT ON COLUMN pgflow.queues.awaits IS 'The transactions that may have claimed before the queue had limits, as pg_locks names them, empty when nobody has looked for them yet; null when they have ended. Nothing is handed out until then.';

CREATE TABLE pgflow.queue_starts (
  queue      text COLLATE "C" NOT NULL,
  key        text COLLATE "C",
  started_at timestamptz NOT NULL,
  tasks      int NOT NULL,
  CONSTRAINT "a start is a start of tasks" CHECK (tasks > 0)
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE pgflow.queue_starts IS 'What claims started lately in queues whose starts are limited. Claims delete what is older than the period.';
COMMENT ON COLUMN pgflow.queue_starts.key IS 'The key of the runs; null for runs without one, and where starts are not counted by key.';
COMMENT ON COLUMN pgflow.queue_starts.tasks IS 'How many tasks were started then.';

CREATE INDEX queue_starts_by_time ON pgflow.queue_starts (queue, started_at);

CREATE TABLE pgflow.paused_flows (
  flow_slug text COLLATE "C" NOT NULL,
  paused_at timestamptz NOT NULL,
  paused_by name NOT NULL,
  CONSTRAINT "a flow is paused once" PRIMARY KEY (flow_slug)
);
COMMENT ON TABLE pgflow.paused_flows IS 'The flows whose tasks are not handed out.';
COMMENT ON COLUMN pgflow.paused_flows.paused_by IS 'The role that paused the flow.';

CREATE TABLE pgflow.workers (
  worker_id     text COLLATE "C" NOT NULL,
  queue         text COLLATE "C" NOT NULL,
  executor      text NOT NULL,
  started_at    timestamptz NOT NULL,
  last_seen_at  timestamptz NOT NULL,
  tasks_claimed bigint NOT NULL,
  CONSTRAINT "a worker is known by its id in each queue" PRIMARY KEY (worker_id, queue)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE pgflow.workers IS 'The heartbeats of workers: who has asked which queue for tasks within the last day. Not kept by pg_dump.';
COMMENT ON COLUMN pgflow.workers.worker_id IS 'What the worker calls itself when it claims. One that gives no id, or one of more than 1,000 bytes, has no row.';
COMMENT ON COLUMN pgflow.workers.executor IS 'Whose tasks it asked for last.';
COMMENT ON COLUMN pgflow.workers.started_at IS 'When it was first seen.';
COMMENT ON COLUMN pgflow.workers.last_seen_at IS 'When it last asked, to within ten seconds.';
COMMENT ON COLUMN pgflow.workers.tasks_claimed IS 'About how many tasks it got: counted up with each heartbeat, and what was got since the last one is missing.';

SELECT pg_catalog.pg_extension_config_dump('pgflow.queues', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.queue_starts', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.paused_flows', '');
