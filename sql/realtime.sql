-- Which flows tell the outside what becomes of their runs. As long as there are none, nothing is read or sent.

CREATE TABLE pgflow.realtime_flows (
  flow_slug  text COLLATE "C" NOT NULL,
  is_private boolean NOT NULL,
  enabled_at timestamptz NOT NULL,
  enabled_by name NOT NULL,
  CONSTRAINT "a flow is published once" PRIMARY KEY (flow_slug)
);
COMMENT ON TABLE pgflow.realtime_flows IS 'The flows whose changes of runs and steps are published, see set_realtime().';
COMMENT ON COLUMN pgflow.realtime_flows.is_private IS 'Whether only those may learn what is in a run who may read it: topics of Supabase Realtime are private, and notifications say nothing of outputs and errors.';
COMMENT ON COLUMN pgflow.realtime_flows.enabled_by IS 'The role that published the flow first.';

SELECT pg_catalog.pg_extension_config_dump('pgflow.realtime_flows', '');
