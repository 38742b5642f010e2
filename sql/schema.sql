-- The two schemas of pgflow. Nothing in them is granted to PUBLIC.
CREATE SCHEMA pgflow;
COMMENT ON SCHEMA pgflow IS 'Durable DAG workflows: definitions, runs, and the functions that move them.';

CREATE SCHEMA pgflow_locks;
COMMENT ON SCHEMA pgflow_locks IS 'The advisory locks of pgflow: keys, the run lock, and who holds what.';
