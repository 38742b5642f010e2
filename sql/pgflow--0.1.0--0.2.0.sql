-- From 0.1.0 to 0.2.0: cheaper look-ups of live tasks, pictures, changes told to the outside, and privileges. A role that only
-- has EXECUTE on functions may do nothing from here on: see grant_access().

-- Whoever moves a run locks table runs before anything else. They are waited for here, where nothing is locked yet that they want.
LOCK TABLE pgflow.runs, pgflow.step_states, pgflow.step_tasks, pgflow.live_tasks IN ACCESS EXCLUSIVE MODE;

-- The key of live tasks costs less to look up and to keep. The table is small, and everybody else waits for as long as its index is built.
ALTER TABLE pgflow.live_tasks
  DROP CONSTRAINT "a live task is known by its run, step and index",
  ADD CONSTRAINT "a live task is known by its run, step and index" PRIMARY KEY (run_id, task_index, step_slug)
    WITH (deduplicate_items = off);

-- Ready tasks that were started together have the same place in the queue. Merged into one entry they would be passed over, one
-- by one, until the last of them is claimed.
ALTER INDEX pgflow.live_tasks_ready SET (deduplicate_items = off);
REINDEX INDEX pgflow.live_tasks_ready;

COMMENT ON COLUMN pgflow.runs.large IS 'Whether its payload or an output is so large that an input built of them, or its own output, may exceed what jsonb can hold.';

-- The engine watches its counters itself: PostgreSQL parses CHECK constraints anew in every statement.
ALTER TABLE pgflow.runs DROP CONSTRAINT "a run has no more leaves to end than it has leaves";
ALTER TABLE pgflow.step_states DROP CONSTRAINT "a step has no fewer than zero deps or tasks left";

-- A child that ended for good.
ALTER TABLE pgflow.errands
  DROP CONSTRAINT "an errand tells the parent or ends children",
  ADD CONSTRAINT "an errand tells the parent or ends children" CHECK (kind IN ('tell_parent', 'tell_parent_for_good', 'end_children'));
COMMENT ON COLUMN pgflow.errands.run_id IS 'The child that has ended (tell_parent, tell_parent_for_good), or the parent whose children nobody waits for any more (end_children). It may be gone.';

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
COMMENT ON FUNCTION pgflow.flow_mermaid IS 'The steps and deps of a version, the latest by default, as a flowchart of Mermaid. Changes nothing. Errors: PT404 unknown flow or version, or one that the caller may not run.';
COMMENT ON FUNCTION pgflow.run_mermaid IS 'A run as a flowchart of Mermaid, with the status, retries and duration of each step. Changes nothing. Errors: PT404 unknown run, or one that the caller may not see.';
COMMENT ON FUNCTION pgflow.flow_svg IS 'The steps and deps of a version, the latest by default, as an SVG image; PostgREST serves it as one. Changes nothing. Errors: PT404 unknown flow or version, or one that the caller may not run.';
COMMENT ON FUNCTION pgflow.run_svg IS 'A run as an SVG image, with the status, progress, retries, error and duration of each step; PostgREST serves it as one. Changes nothing. Errors: PT404 unknown run, or one that the caller may not see.';

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

-- Capabilities and grants, row-level security, and the functions for them.
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
-- The functions.
CREATE FUNCTION pgflow.grant_access(role name, capability text) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'grant_access_wrapper';
CREATE FUNCTION pgflow.revoke_access(role name, capability text) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'revoke_access_wrapper';
CREATE FUNCTION pgflow.grant_run(flow_slug text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'grant_run_wrapper';
CREATE FUNCTION pgflow.revoke_run(flow_slug text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'revoke_run_wrapper';
CREATE FUNCTION pgflow.grant_queue(queue text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'grant_queue_wrapper';
CREATE FUNCTION pgflow.revoke_queue(queue text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'revoke_queue_wrapper';
CREATE FUNCTION pgflow.grant_step(flow_slug text, step_slug text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'grant_step_wrapper';
CREATE FUNCTION pgflow.revoke_step(flow_slug text, step_slug text, role name) RETURNS void SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'revoke_step_wrapper';
CREATE FUNCTION pgflow.sees_everything() RETURNS boolean STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'sees_everything_wrapper';
CREATE FUNCTION pgflow.seen_creators() RETURNS text[] STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'seen_creators_wrapper';
CREATE FUNCTION pgflow.on_behalf_of() RETURNS text STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'on_behalf_of_wrapper';
CREATE FUNCTION pgflow.owned_flows() RETURNS text[] STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'owned_flows_wrapper';
CREATE FUNCTION pgflow.runnable_flows() RETURNS text[] STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'runnable_flows_wrapper';
CREATE FUNCTION pgflow.served_queues() RETURNS text[] STRICT STABLE SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'served_queues_wrapper';
-- Relationships for PostgREST, which embeds rows of one table in those of another by a function of the row:
-- /runs?select=*,step_states(*,step_tasks(*)). Foreign keys would tell it the same, and cost each insert a look-up.

CREATE FUNCTION pgflow.step_states(run pgflow.runs) RETURNS SETOF pgflow.step_states
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT s.* FROM pgflow.step_states s WHERE s.run_id = (run).run_id
$$;
COMMENT ON FUNCTION pgflow.step_states IS 'The states of the steps of a run, for PostgREST: /runs?select=*,step_states(*). Shows what the caller may see in the table, and changes nothing.';

CREATE FUNCTION pgflow.step_tasks(step pgflow.step_states) RETURNS SETOF pgflow.step_tasks
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.* FROM pgflow.step_tasks t WHERE t.run_id = (step).run_id AND t.step_slug = (step).step_slug
$$;
COMMENT ON FUNCTION pgflow.step_tasks IS 'The attempts at the tasks of a step of a run, for PostgREST: /step_states?select=*,step_tasks(*). Shows what the caller may see in the table, and changes nothing.';

REVOKE ALL ON FUNCTION pgflow.step_states, pgflow.step_tasks, pgflow.grant_access, pgflow.revoke_access, pgflow.grant_run, pgflow.revoke_run, pgflow.grant_queue, pgflow.revoke_queue, pgflow.grant_step, pgflow.revoke_step,
  pgflow.sees_everything, pgflow.seen_creators, pgflow.on_behalf_of, pgflow.owned_flows, pgflow.runnable_flows, pgflow.served_queues FROM PUBLIC;
REVOKE ALL ON pgflow.access_grants, pgflow.run_grants, pgflow.queue_grants, pgflow.step_grants FROM PUBLIC;
-- Who sees which rows. The engine acts as the owner of these tables, whom no policy holds; everybody else only reads, and
-- sees what is theirs. A policy asks functions of pgflow, each once a query and not once a row: `(SELECT f())`. What they
-- answer rests on tables of grants and on the role in force, never on a setting that a role can make for itself.
--
-- A table without a policy shows nothing to anybody but the owner, whatever is granted.

ALTER TABLE pgflow.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.step_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.step_tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.live_tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.flow_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.deps ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.schedules ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.run_deadlines ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.errands ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.event_waiters ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.queue_starts ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.paused_flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.realtime_flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.workers ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.http_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.gateway_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.access_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.run_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.queue_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgflow.step_grants ENABLE ROW LEVEL SECURITY;

-- Runs: a client those that it created, and behind an API gateway only those of the same user of it; an author those of
-- its flows.
CREATE POLICY "runs are seen by who made them and by who owns the flow" ON pgflow.runs FOR SELECT USING (
  (SELECT pgflow.sees_everything())
  OR created_by = ANY ((SELECT pgflow.seen_creators())::pg_catalog.text[])
     AND ((SELECT pgflow.on_behalf_of()) IS NULL OR created_for = (SELECT pgflow.on_behalf_of()))
  OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[]));

-- What belongs to a run is seen with it; and a worker sees the steps of its queues, which is what it gets to know by
-- working on them.
CREATE POLICY "step states are seen with their run and by who serves the queue" ON pgflow.step_states FOR SELECT USING (
  (SELECT pgflow.sees_everything())
  OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[])
  OR EXISTS (SELECT FROM pgflow.runs r WHERE r.run_id = step_states.run_id)
  OR (flow_slug, step_slug) IN (SELECT s.flow_slug, s.step_slug FROM pgflow.steps s
                                WHERE s.queue = ANY ((SELECT pgflow.served_queues())::pg_catalog.text[])));
CREATE POLICY "attempts are seen with their run and by who serves the queue" ON pgflow.step_tasks FOR SELECT USING (
  (SELECT pgflow.sees_everything())
  OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[])
  OR EXISTS (SELECT FROM pgflow.runs r WHERE r.run_id = step_tasks.run_id)
  OR (flow_slug, step_slug) IN (SELECT s.flow_slug, s.step_slug FROM pgflow.steps s
                                WHERE s.queue = ANY ((SELECT pgflow.served_queues())::pg_catalog.text[])));

-- Definitions: who may run the flow.
CREATE POLICY "flows are seen by who may run them" ON pgflow.flows FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.runnable_flows())::pg_catalog.text[]));
CREATE POLICY "versions are seen by who may run the flow" ON pgflow.flow_versions FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.runnable_flows())::pg_catalog.text[]));
CREATE POLICY "steps are seen by who may run the flow or serves the queue" ON pgflow.steps FOR SELECT USING (
  (SELECT pgflow.sees_everything())
  OR flow_slug = ANY ((SELECT pgflow.runnable_flows())::pg_catalog.text[])
  OR queue = ANY ((SELECT pgflow.served_queues())::pg_catalog.text[]));
CREATE POLICY "deps are seen by who may run the flow" ON pgflow.deps FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.runnable_flows())::pg_catalog.text[]));

-- What is about a flow: its owner. What is about a queue: who serves it.
CREATE POLICY "schedules are seen by who owns the flow" ON pgflow.schedules FOR SELECT USING (
  (SELECT pgflow.sees_everything())
  OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[])
  OR owner = ANY ((SELECT pgflow.seen_creators())::pg_catalog.text[]));
CREATE POLICY "pauses of flows are seen by who may run them" ON pgflow.paused_flows FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.runnable_flows())::pg_catalog.text[]));
CREATE POLICY "published flows are seen by who owns them" ON pgflow.realtime_flows FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[]));
CREATE POLICY "run grants are seen by who owns the flow" ON pgflow.run_grants FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[]));
CREATE POLICY "step grants are seen by who owns the flow" ON pgflow.step_grants FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR flow_slug = ANY ((SELECT pgflow.owned_flows())::pg_catalog.text[]));
CREATE POLICY "queues are seen by who serves them" ON pgflow.queues FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR queue = ANY ((SELECT pgflow.served_queues())::pg_catalog.text[]));
CREATE POLICY "workers are seen by who serves the queue" ON pgflow.workers FOR SELECT USING (
  (SELECT pgflow.sees_everything()) OR queue = ANY ((SELECT pgflow.served_queues())::pg_catalog.text[]));

-- The rest is for operators.
CREATE POLICY "live tasks are seen by operators" ON pgflow.live_tasks FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "deadlines are seen by operators" ON pgflow.run_deadlines FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "errands are seen by operators" ON pgflow.errands FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "events are seen by operators" ON pgflow.events FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "waiters are seen by operators" ON pgflow.event_waiters FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "starts are seen by operators" ON pgflow.queue_starts FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "capabilities are seen by operators" ON pgflow.access_grants FOR SELECT USING ((SELECT pgflow.sees_everything()));
CREATE POLICY "queue grants are seen by operators" ON pgflow.queue_grants FOR SELECT USING ((SELECT pgflow.sees_everything()));

ALTER VIEW pgflow_locks.held SET (security_invoker = true);
COMMENT ON FUNCTION pgflow.flow_graph IS 'The steps and deps of a version, the latest by default: {"flow_slug", "version", "steps": […], "deps": […]}. Changes nothing. Errors: PT404 unknown flow or version, or one that the caller may not run.';
COMMENT ON FUNCTION pgflow.run_flow IS 'Starts a run of the latest version of a flow and returns its id. The same idempotency_key for the same flow and creator returns the first run''s id and starts nothing; a start_at that lies ahead delays the root tasks. Errors: PT404 unknown flow, 42501 not granted to run it, PT409 unknown output step, 22023 payload of a root map is no array.';
COMMENT ON FUNCTION pgflow.start_step IS 'Starts a pending step whose deps are resolved, a manual one that is, and returns its state; one that has started or ended is returned unchanged. Errors: PT404 unknown run or step, PT409 unresolved deps, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.claim_step_tasks IS 'Hands out up to max_tasks (0 to 10,000) ready tasks of a queue, each with a lease of lease_seconds, else of its step''s timeout, and never waits for a lock. Ends attempts whose lease ran out. Errors: 42501 not granted the queue.';
COMMENT ON FUNCTION pgflow.complete_step_task IS 'Completes a claimed task with its output and starts what waited for it; an SQL NULL output counts as JSON null. A lease that is no longer the task''s is refused by accepted = false. Errors: PT404 unknown run, step or task, 42501 without a lease or the step''s queue, for whoever is neither operator nor owner of the flow.';
COMMENT ON FUNCTION pgflow.fail_step_task IS 'Fails an attempt at a claimed task: the next one is ready after retry_after seconds, else after the step''s backoff. When no attempt is left or retryable is false, the step''s when_exhausted decides. Errors: PT404 unknown run, step or task, 42501 without a lease or the step''s queue, for whoever is neither operator nor owner of the flow.';
COMMENT ON FUNCTION pgflow.extend_step_task IS 'Lets the lease of a claimed task run for lease_seconds, else its step''s timeout, from now on. Changes nothing else and takes no run''s lock. Errors: PT404 unknown run, step or task, 42501 without a lease or the step''s queue, for whoever is neither operator nor owner of the flow.';
COMMENT ON FUNCTION pgflow.release_step_task IS 'Hands a claimed task back: the same attempt is queued again at once, and none is burnt. Errors: PT404 unknown run, step or task, 42501 without a lease or the step''s queue, for whoever is neither operator nor owner of the flow.';
COMMENT ON FUNCTION pgflow.settle_step_tasks IS 'Settles up to 1,000 tasks of any runs in one pass: completes those with an output, fails those with an error_message, releases those with release = true. Receipts come in the order of the results. Errors: 22023 malformed results, with the JSON path; then nothing changes; 42501 as complete_step_task, for the whole call.';
COMMENT ON FUNCTION pgflow.complete_step IS 'Finishes a started external step with its output, or settles the only task of another single step whoever holds its lease. Errors: PT404 unknown run or step, 22023 the step is a map, 42501 not granted the step.';
COMMENT ON FUNCTION pgflow.send_event IS 'Completes every external step that the caller may complete, whose target is the name and whose run has the key (null: has none), with the payload as its output, and returns how many steps that were. The event is kept for pgflow.event_retention for steps that begin to wait later. Errors: 22023 name or key out of range.';
COMMENT ON FUNCTION pgflow.cancel_run IS 'Cancels a run with its unfinished steps and attempts and keeps the reason as its error_message; a run that has ended is returned unchanged. Errors: PT404 unknown run, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.retry_run IS 'Puts a failed or cancelled run back to started: what is completed or skipped stays, the rest is ready at once with a new budget of attempts. Errors: PT404 unknown run, PT409 neither failed nor cancelled, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.fork_run IS 'Starts a new run on the version of an ended one and returns its id: the named steps, what is downstream of them and what had not resolved run again, the others keep their state and output. Errors: PT404 unknown run or step, PT409 not ended, 22023 payload of a root map is no array, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.get_run IS 'A run with its steps in order of definition, as one object: {"run": {…}, "steps": […]}, with the counts of tasks and attempts of each step. Changes nothing. Errors: PT404 unknown run, or one that the caller may not see.';
COMMENT ON FUNCTION pgflow.grant_access IS 'Gives a role a capability: client (run flows, see its own runs), worker (claim and settle), author (define flows, look after their runs) or operator (see and move all runs, queues, upkeep), and with it the right to use the schema, call these functions and read these tables. Repeat it after an upgrade. Errors: 22023 unknown role or capability, 42501 neither superuser nor the owner of the extension.';
COMMENT ON FUNCTION pgflow.revoke_access IS 'Takes a capability from a role, and what none of its other capabilities needs. Does nothing when it has none. Errors: 22023 unknown capability, 42501 neither superuser nor the owner of the extension.';
COMMENT ON FUNCTION pgflow.grant_run IS 'Lets a role with capability client or author start runs of a flow, and read its definition. Errors: PT404 unknown flow, 22023 unknown role, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.revoke_run IS 'No longer lets a role start runs of a flow; those that it started it still sees. Errors: PT404 unknown flow, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.grant_queue IS 'Lets a role with capability worker claim tasks of a queue, and settle those whose lease it holds. Errors: 22023 unknown role or bad name, 42501 the caller is no operator.';
COMMENT ON FUNCTION pgflow.revoke_queue IS 'No longer lets a role claim and settle tasks of a queue. Errors: 22023 bad name, 42501 the caller is no operator.';
COMMENT ON FUNCTION pgflow.grant_step IS 'Lets a role with any capability complete an external step, by complete_step or an event, in every run of its flow. Errors: PT404 unknown flow or step, 22023 unknown role or a step that is not external, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.revoke_step IS 'No longer lets a role complete an external step. Errors: PT404 unknown flow, 42501 the flow is somebody else''s and the caller no operator.';
COMMENT ON FUNCTION pgflow.sees_everything IS 'Whether the caller sees all rows: an operator, a superuser or the owner of the extension. Asked by policies, as are the next ones.';
COMMENT ON FUNCTION pgflow.seen_creators IS 'The roles whose runs the caller sees as its own: itself and those whose rights it inherits; none without capability client or author, nor behind an API gateway without a sub claim.';
COMMENT ON FUNCTION pgflow.on_behalf_of IS 'The sub claim of the request, when an API gateway of gateway_roles made it: the caller sees only runs that were created for it. Else null. Errors: 22023 request.jwt.claims is not JSON.';
COMMENT ON FUNCTION pgflow.owned_flows IS 'The flows that the caller owns, all runs of which it sees; none without capability author.';
COMMENT ON FUNCTION pgflow.runnable_flows IS 'The flows that the caller owns or was granted to run, whose definitions it sees; none without capability client or author.';
COMMENT ON FUNCTION pgflow.served_queues IS 'The queues that the caller was granted, of whose steps it sees states and attempts; none without capability worker.';
