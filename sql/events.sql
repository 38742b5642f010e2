-- Events, and the steps that wait for one.

CREATE TABLE pgflow.events (
  event_id  bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  event_key bigint NOT NULL,
  name      text COLLATE "C" NOT NULL,
  key       text COLLATE "C",
  payload   jsonb NOT NULL,
  sent_at   timestamptz NOT NULL,
  sent_by   name NOT NULL,
  sent_for  text,
  taken_at  timestamptz,
  is_open   boolean NOT NULL,
  CONSTRAINT "an event is known by its number" PRIMARY KEY (event_id),
  CONSTRAINT "an event that is still handed out has been taken" CHECK (taken_at IS NOT NULL OR NOT is_open)
);
COMMENT ON TABLE pgflow.events IS 'The events that were sent, kept for as long as pgflow.event_retention says.';
COMMENT ON COLUMN pgflow.events.event_id IS 'Of two events with the same name and key, the one that was sent first has the lower number.';
COMMENT ON COLUMN pgflow.events.event_key IS 'A hash of name and key: the key of the event''s advisory lock, and what the event is found by.';
COMMENT ON COLUMN pgflow.events.key IS 'The key of the runs that it is for; null for those that have none.';
COMMENT ON COLUMN pgflow.events.payload IS 'The output of the steps that take it.';
COMMENT ON COLUMN pgflow.events.sent_by IS 'The role in force when send_event was called.';
COMMENT ON COLUMN pgflow.events.sent_for IS 'The sub claim of the request, when an API gateway of gateway_roles made it.';
COMMENT ON COLUMN pgflow.events.taken_at IS 'When the first step took it; runs that were created later do not get it.';
COMMENT ON COLUMN pgflow.events.is_open IS 'Whether more runs waited for it than one call may lock, and some may not have it yet.';

-- A step that begins to wait looks for the first event that nobody took, and for the first one taken since its run exists.
CREATE INDEX events_not_taken ON pgflow.events (event_key, event_id) WHERE taken_at IS NULL;
CREATE INDEX events_taken ON pgflow.events (event_key, taken_at, event_id) WHERE taken_at IS NOT NULL;
CREATE INDEX events_open ON pgflow.events (event_id) WHERE is_open;

CREATE TABLE pgflow.event_waiters (
  run_id       uuid NOT NULL,
  step_slug    text COLLATE "C" NOT NULL,
  task_index   int NOT NULL,
  event_key    bigint NOT NULL,
  name         text COLLATE "C" NOT NULL,
  key          text COLLATE "C",
  times_out_at timestamptz NOT NULL,
  CONSTRAINT "a task waits for one event" PRIMARY KEY (run_id, step_slug, task_index)
);
COMMENT ON TABLE pgflow.event_waiters IS 'The live tasks of external steps with a target, and the event that each waits for.';
COMMENT ON COLUMN pgflow.event_waiters.event_key IS 'The hash of name and key, see events.';
COMMENT ON COLUMN pgflow.event_waiters.key IS 'The key of the run.';
COMMENT ON COLUMN pgflow.event_waiters.times_out_at IS 'When the step times out, infinity for never. The lease of the live task ends before that when a sweep has to look for the event again.';

CREATE INDEX event_waiters_by_event ON pgflow.event_waiters (event_key, run_id, step_slug, task_index);

SELECT pg_catalog.pg_extension_config_dump('pgflow.events', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.events_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.event_waiters', '');
