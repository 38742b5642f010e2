-- What a flow is: a named DAG of steps in numbered versions. A version that a run has seen never changes.

CREATE TABLE pgflow.flows (
  flow_slug   text COLLATE "C" NOT NULL,
  version     int NOT NULL,
  owner       name NOT NULL,
  description text,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  keep        interval,
  CONSTRAINT "a flow is known by its slug" PRIMARY KEY (flow_slug),
  CONSTRAINT "a version is 1 or more" CHECK (version >= 1)
);
COMMENT ON TABLE pgflow.flows IS 'One row for each flow.';
COMMENT ON COLUMN pgflow.flows.version IS 'The latest version; new runs take it.';
COMMENT ON COLUMN pgflow.flows.owner IS 'The role that made the flow; its members may change and delete it.';
COMMENT ON COLUMN pgflow.flows.keep IS 'How long runs are kept after their end, see set_retention(); null for ever.';

CREATE INDEX flows_with_retention ON pgflow.flows (flow_slug) WHERE keep IS NOT NULL;

CREATE TABLE pgflow.flow_versions (
  flow_slug        text COLLATE "C" NOT NULL,
  version          int NOT NULL,
  max_attempts     int NOT NULL,
  base_delay       int NOT NULL,
  max_delay        int NOT NULL,
  timeout          int NOT NULL,
  run_timeout      int,
  output_step_slug text COLLATE "C",
  executor         text NOT NULL,
  target           text,
  definition_id    bigint NOT NULL,
  frozen_at        timestamptz,
  created_at       timestamptz NOT NULL,
  CONSTRAINT "a version is known by its flow and number" PRIMARY KEY (flow_slug, version),
  CONSTRAINT "a task is tried at least once" CHECK (max_attempts >= 1),
  CONSTRAINT "a delay is not negative" CHECK (base_delay >= 0 AND max_delay >= 0),
  CONSTRAINT "a timeout is a second or more" CHECK (timeout >= 1),
  CONSTRAINT "a run has a second or more" CHECK (run_timeout >= 1)
);
COMMENT ON TABLE pgflow.flow_versions IS 'The versions of each flow, with all options that steer a run.';
COMMENT ON COLUMN pgflow.flow_versions.base_delay IS 'Seconds before the second attempt; doubles with each further one.';
COMMENT ON COLUMN pgflow.flow_versions.max_delay IS 'Seconds that a delay between attempts never exceeds, but for jitter.';
COMMENT ON COLUMN pgflow.flow_versions.timeout IS 'Seconds for which a lease lasts when the claimer names no other time.';
COMMENT ON COLUMN pgflow.flow_versions.run_timeout IS 'Seconds after which a run that has not ended fails; null for never.';
COMMENT ON COLUMN pgflow.flow_versions.executor IS 'The executor that define_flow gave to steps without one of their own.';
COMMENT ON COLUMN pgflow.flow_versions.target IS 'The target that define_flow gave to steps without one of their own.';
COMMENT ON COLUMN pgflow.flow_versions.definition_id IS 'A random number, new with every change of the version: the same number means the same definition, in every session and for ever.';
COMMENT ON COLUMN pgflow.flow_versions.frozen_at IS 'When the first run took this version; from then on it does not change.';

CREATE TABLE pgflow.steps (
  flow_slug               text COLLATE "C" NOT NULL,
  flow_version            int NOT NULL,
  step_slug               text COLLATE "C" NOT NULL,
  step_index              int NOT NULL,
  step_type               text NOT NULL,
  map_over                text COLLATE "C",
  executor                text NOT NULL,
  target                  text,
  queue                   text COLLATE "C" NOT NULL,
  start_mode              text NOT NULL,
  max_attempts            int,
  base_delay              int,
  timeout                 int,
  start_delay             int,
  required_input_pattern  jsonb,
  forbidden_input_pattern jsonb,
  when_unmet              text NOT NULL,
  when_exhausted          text NOT NULL,
  created_at              timestamptz NOT NULL,
  CONSTRAINT "a step is known by its slug within its version" PRIMARY KEY (flow_slug, flow_version, step_slug),
  CONSTRAINT "a step is single or map" CHECK (step_type IN ('single', 'map')),
  CONSTRAINT "a step has a known executor" CHECK (executor IN ('worker', 'sql', 'http', 'flow', 'external', 'timer')),
  CONSTRAINT "a step starts by itself or by hand" CHECK (start_mode IN ('auto', 'manual')),
  CONSTRAINT "a task of a step is tried at least once" CHECK (max_attempts >= 1),
  CONSTRAINT "a delay of a step is not negative" CHECK (base_delay >= 0 AND start_delay >= 0),
  CONSTRAINT "a timeout of a step is a second or more" CHECK (timeout >= 1),
  CONSTRAINT "an unmet condition fails, skips or cascades" CHECK (when_unmet IN ('fail', 'skip', 'skip-cascade')),
  CONSTRAINT "an exhausted step fails, skips or cascades" CHECK (when_exhausted IN ('fail', 'skip', 'skip-cascade'))
);
COMMENT ON TABLE pgflow.steps IS 'The steps of each version. Columns that are null take the option of the version.';
COMMENT ON COLUMN pgflow.steps.step_index IS 'The place of the step in the order of definition, from 0.';
COMMENT ON COLUMN pgflow.steps.map_over IS 'The dep whose output a map step takes its elements from; null at a root, where it is the payload.';
COMMENT ON COLUMN pgflow.steps.target IS 'What the executor calls: a function, a URL, a flow slug or an event name.';
COMMENT ON COLUMN pgflow.steps.start_delay IS 'Seconds between the moment the deps are resolved and the moment the tasks are ready.';

CREATE TABLE pgflow.deps (
  flow_slug      text COLLATE "C" NOT NULL,
  flow_version   int NOT NULL,
  from_step_slug text COLLATE "C" NOT NULL,
  to_step_slug   text COLLATE "C" NOT NULL,
  CONSTRAINT "a dep is known by its two ends" PRIMARY KEY (flow_slug, flow_version, from_step_slug, to_step_slug),
  CONSTRAINT "a step does not depend on itself" CHECK (from_step_slug <> to_step_slug)
);
COMMENT ON TABLE pgflow.deps IS 'The edges of each version: from_step_slug must be resolved before to_step_slug may start.';

CREATE INDEX deps_by_target ON pgflow.deps (to_step_slug, flow_slug, flow_version, from_step_slug);

CREATE TABLE pgflow.gateway_roles (
  role_name name NOT NULL,
  CONSTRAINT "a gateway role is listed once" PRIMARY KEY (role_name)
);
COMMENT ON TABLE pgflow.gateway_roles IS 'The login roles of API gateways, whose request.jwt.claims are believed. Written by superusers only.';
