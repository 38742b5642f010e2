-- What the end of a run still has to do to other runs: to the task of its parent, and to its children.

CREATE TABLE pgflow.errands (
  run_id    uuid NOT NULL,
  errand_id bigint NOT NULL,
  kind      text NOT NULL,
  due_at    timestamptz NOT NULL,
  CONSTRAINT "an errand is known by its run and number" PRIMARY KEY (run_id, errand_id),
  CONSTRAINT "an errand tells the parent or ends children" CHECK (kind IN ('tell_parent', 'tell_parent_for_good', 'end_children'))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE pgflow.errands IS 'What could not be done at once when a run or a flow task ended, because a lock was not free: done by upkeep.';
COMMENT ON COLUMN pgflow.errands.run_id IS 'The child that has ended (tell_parent, tell_parent_for_good), or the parent whose children nobody waits for any more (end_children). It may be gone.';
COMMENT ON COLUMN pgflow.errands.errand_id IS 'A random number: two calls that leave the same errand do not wait for each other.';
COMMENT ON COLUMN pgflow.errands.due_at IS 'When it is tried, or tried again.';

CREATE INDEX errands_by_due_at ON pgflow.errands (due_at);

SELECT pg_catalog.pg_extension_config_dump('pgflow.errands', '');
