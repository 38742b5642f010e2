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
