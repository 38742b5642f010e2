-- Who may do what beside the owner of the extension. Roles are kept by their names, so that a dump carries them to another
-- server; who inherits from a role has what it was granted.

CREATE TABLE pgflow.access_grants (
  role_name  name NOT NULL,
  capability text NOT NULL,
  granted_by name NOT NULL,
  granted_at timestamptz NOT NULL,
  CONSTRAINT "a capability is granted to a role once" PRIMARY KEY (role_name, capability),
  CONSTRAINT "a capability is client, worker, author or operator"
    CHECK (capability IN ('client', 'worker', 'author', 'operator'))
);
COMMENT ON TABLE pgflow.access_grants IS 'The capabilities of roles, see grant_access.';
COMMENT ON COLUMN pgflow.access_grants.granted_by IS 'The role in force when grant_access was called first.';

CREATE TABLE pgflow.run_grants (
  flow_slug  text COLLATE "C" NOT NULL,
  role_name  name NOT NULL,
  granted_by name NOT NULL,
  granted_at timestamptz NOT NULL,
  CONSTRAINT "a flow is granted to a role once" PRIMARY KEY (flow_slug, role_name)
);
COMMENT ON TABLE pgflow.run_grants IS 'Who may run which flow, see grant_run; its owner may anyway.';

CREATE TABLE pgflow.queue_grants (
  queue      text COLLATE "C" NOT NULL,
  role_name  name NOT NULL,
  granted_by name NOT NULL,
  granted_at timestamptz NOT NULL,
  CONSTRAINT "a queue is granted to a role once" PRIMARY KEY (queue, role_name)
);
COMMENT ON TABLE pgflow.queue_grants IS 'Who may serve which queue, see grant_queue.';

CREATE TABLE pgflow.step_grants (
  flow_slug  text COLLATE "C" NOT NULL,
  step_slug  text COLLATE "C" NOT NULL,
  role_name  name NOT NULL,
  granted_by name NOT NULL,
  granted_at timestamptz NOT NULL,
  CONSTRAINT "a step is granted to a role once" PRIMARY KEY (flow_slug, step_slug, role_name)
);
COMMENT ON TABLE pgflow.step_grants IS 'Who may complete which external step, in every version of its flow, see grant_step.';

CREATE INDEX run_grants_by_role ON pgflow.run_grants (role_name);
CREATE INDEX queue_grants_by_role ON pgflow.queue_grants (role_name);

SELECT pg_catalog.pg_extension_config_dump('pgflow.access_grants', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.run_grants', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.queue_grants', '');
SELECT pg_catalog.pg_extension_config_dump('pgflow.step_grants', '');
