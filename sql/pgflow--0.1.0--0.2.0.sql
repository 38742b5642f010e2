-- From 0.1.0 to 0.2.0: the key of live tasks costs less to look up and to keep.

-- The table is small, and everybody else waits for as long as its index is built.
ALTER TABLE pgflow.live_tasks
  DROP CONSTRAINT "a live task is known by its run, step and index",
  ADD CONSTRAINT "a live task is known by its run, step and index" PRIMARY KEY (run_id, task_index, step_slug)
    WITH (deduplicate_items = off);
-- From 0.1.0 to 0.2.0.

-- Pictures of flows and runs.
-- An API gateway that names its answers after the type of the result (PostgREST does) serves these as images.
CREATE DOMAIN pgflow."image/svg+xml" AS text;
COMMENT ON DOMAIN pgflow."image/svg+xml" IS 'An SVG document. PostgREST answers requests for this media type with the text itself.';
REVOKE ALL ON TYPE pgflow."image/svg+xml" FROM PUBLIC;
CREATE FUNCTION pgflow.flow_mermaid(flow_slug text, version int DEFAULT NULL) RETURNS text STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'flow_mermaid_wrapper';
CREATE FUNCTION pgflow.run_mermaid(run_id uuid) RETURNS text STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'run_mermaid_wrapper';
CREATE FUNCTION pgflow.flow_svg(flow_slug text, version int DEFAULT NULL) RETURNS pgflow."image/svg+xml" STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'flow_svg_wrapper';
CREATE FUNCTION pgflow.run_svg(run_id uuid) RETURNS pgflow."image/svg+xml" STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'run_svg_wrapper';
REVOKE ALL ON FUNCTION pgflow.flow_mermaid, pgflow.run_mermaid, pgflow.flow_svg, pgflow.run_svg FROM PUBLIC;
COMMENT ON FUNCTION pgflow.flow_mermaid IS 'The steps and deps of a version, the latest by default, as a flowchart of Mermaid. Changes nothing. Errors: PT404 unknown flow or version.';
COMMENT ON FUNCTION pgflow.run_mermaid IS 'A run as a flowchart of Mermaid, with the status, retries and duration of each step. Changes nothing. Errors: PT404 unknown run.';
COMMENT ON FUNCTION pgflow.flow_svg IS 'The steps and deps of a version, the latest by default, as an SVG image; PostgREST serves it as one. Changes nothing. Errors: PT404 unknown flow or version.';
COMMENT ON FUNCTION pgflow.run_svg IS 'A run as an SVG image, with the status, progress, retries, error and duration of each step; PostgREST serves it as one. Changes nothing. Errors: PT404 unknown run.';
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
