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
