-- From 0.1.0 to 0.2.0.

-- Changes of runs and steps are told to the outside, see realtime.sql.
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
REVOKE ALL ON TABLE pgflow.realtime_flows FROM PUBLIC;

CREATE FUNCTION pgflow.set_realtime(flow_slug text, enabled boolean DEFAULT true, private boolean DEFAULT true) RETURNS void
SET search_path TO pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', 'set_realtime_wrapper';
CREATE FUNCTION pgflow.publish(publication text, with_tasks boolean DEFAULT false) RETURNS void
SET search_path TO pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', 'publish_wrapper';
CREATE FUNCTION pgflow_locks.events_key() RETURNS bigint
IMMUTABLE STRICT PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', 'events_key_wrapper';
REVOKE ALL ON FUNCTION pgflow.set_realtime, pgflow.publish, pgflow_locks.events_key FROM PUBLIC;
COMMENT ON FUNCTION pgflow.set_realtime IS 'Publishes each change of the runs and steps of a flow, or with enabled = false no longer: to realtime.send() where Supabase Realtime is there, and on channel pgflow_events to who listens. private says whether topics are private and notifications keep to themselves what was returned. Holds for runs under way, too. Errors: PT404 unknown flow, 42501 the flow is somebody else''s.';
COMMENT ON FUNCTION pgflow.publish IS 'Adds the tables runs and step_states to a publication of logical replication, and with_tasks step_tasks; what is in it already stays as it is. Errors: PT404 unknown publication, 42501 it is somebody else''s.';
COMMENT ON FUNCTION pgflow_locks.events_key IS 'The key of the advisory lock that who listens on channel pgflow_events shares: as long as nobody does, nothing is sent.';
