-- How things are going, for those who watch. Each view says what it reads. They show to a role what it may read of the
-- tables (security_invoker).

CREATE VIEW pgflow.queue_stats WITH (security_invoker = true) AS
SELECT coalesce(t.queue, q.queue) AS queue, t.executor,
       coalesce(t.ready, 0) AS ready, coalesce(t.delayed, 0) AS delayed, coalesce(t.started, 0) AS started,
       coalesce(t.expired_leases, 0) AS expired_leases, t.oldest_ready_at, t.next_due_at,
       coalesce(q.is_paused, false) AS is_paused,
       q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key,
       CASE WHEN q.max_started IS NOT NULL OR q.max_started_per_key IS NOT NULL THEN q.period END AS period
FROM (
  SELECT l.queue,
         CASE l.executor WHEN 'w' THEN 'worker' WHEN 's' THEN 'sql' WHEN 'h' THEN 'http' WHEN 'f' THEN 'flow'
                         WHEN 'e' THEN 'external' WHEN 't' THEN 'timer' END AS executor,
         count(*) FILTER (WHERE l.status = 'ready') AS ready,
         count(*) FILTER (WHERE l.status = 'delayed') AS delayed,
         count(*) FILTER (WHERE l.status = 'started') AS started,
         count(*) FILTER (WHERE l.lease IS NOT NULL AND l.lease_expires_at <= clock_timestamp()) AS expired_leases,
         min(l.ready_at) FILTER (WHERE l.status = 'ready') AS oldest_ready_at,
         least(min(l.ready_at) FILTER (WHERE l.status = 'delayed'),
               min(l.lease_expires_at) FILTER (WHERE l.executor = 't')) AS next_due_at
  FROM pgflow.live_tasks l
  GROUP BY l.queue, l.executor
) t
FULL JOIN pgflow.queues q ON q.queue = t.queue;
COMMENT ON VIEW pgflow.queue_stats IS 'What waits and what is under way, a row for each queue and executor with live tasks, and one for each queue that is limited or paused. Reads all of live_tasks: about a millisecond for each thousand tasks.';
COMMENT ON COLUMN pgflow.queue_stats.executor IS 'Who does these tasks; null for a queue that is limited or paused and has none.';
COMMENT ON COLUMN pgflow.queue_stats.ready IS 'How many tasks may be handed out, were it not for limits and pauses.';
COMMENT ON COLUMN pgflow.queue_stats.delayed IS 'How many tasks wait for a time, or have fallen due and were not asked for since.';
COMMENT ON COLUMN pgflow.queue_stats.started IS 'How many tasks are under way; external and timer tasks are from the beginning.';
COMMENT ON COLUMN pgflow.queue_stats.expired_leases IS 'How many of the started tasks have a lease that ran out and that nobody has taken up since.';
COMMENT ON COLUMN pgflow.queue_stats.oldest_ready_at IS 'Since when the ready task that has waited longest could be handed out.';
COMMENT ON COLUMN pgflow.queue_stats.next_due_at IS 'When the next delayed task or timer falls due, or did.';
COMMENT ON COLUMN pgflow.queue_stats.is_paused IS 'Whether the queue is paused, see pause_queue. That of a flow is not shown here.';
COMMENT ON COLUMN pgflow.queue_stats.max_running IS 'The limit of the whole queue, see limit_queue, in each of its rows.';
COMMENT ON COLUMN pgflow.queue_stats.max_running_per_key IS 'The limit for the runs of one key.';
COMMENT ON COLUMN pgflow.queue_stats.max_started IS 'The limit of starts within the period.';
COMMENT ON COLUMN pgflow.queue_stats.max_started_per_key IS 'The limit of starts for the runs of one key.';
COMMENT ON COLUMN pgflow.queue_stats.period IS 'The period in which starts are counted; null where they are not.';

CREATE VIEW pgflow.worker_stats WITH (security_invoker = true) AS
SELECT coalesce(w.worker_id, h.worker_id) AS worker_id,
       coalesce(w.last_seen_at > clock_timestamp() - interval '1 minute' OR h.lease_expires_at > clock_timestamp(),
                false) AS is_alive,
       w.queues, w.started_at, w.last_seen_at, w.tasks_claimed,
       coalesce(h.tasks, 0) AS tasks_held, h.queues AS queues_held, h.started_at AS oldest_held_at, h.lease_expires_at
FROM (
  SELECT s.worker_id, array_agg(s.queue ORDER BY s.queue) AS queues, min(s.started_at) AS started_at,
         max(s.last_seen_at) AS last_seen_at, sum(s.tasks_claimed)::bigint AS tasks_claimed
  FROM pgflow.workers s
  GROUP BY s.worker_id
) w
FULL JOIN (
  SELECT a.worker_id COLLATE "C" AS worker_id, count(*) AS tasks, array_agg(DISTINCT l.queue) AS queues,
         min(a.started_at) AS started_at, max(l.lease_expires_at) AS lease_expires_at
  FROM pgflow.live_tasks l
  JOIN pgflow.step_tasks a ON a.run_id = l.run_id AND a.step_slug = l.step_slug AND a.task_index = l.task_index
                              AND a.attempt = l.attempt
  WHERE l.lease IS NOT NULL AND a.worker_id IS NOT NULL
  GROUP BY a.worker_id COLLATE "C"
) h ON h.worker_id = w.worker_id;
COMMENT ON VIEW pgflow.worker_stats IS 'Who asks for tasks under a worker_id, within the last day, and who holds some. Reads all of live_tasks, and one attempt for each task that is leased.';
COMMENT ON COLUMN pgflow.worker_stats.worker_id IS 'What the worker calls itself when it claims.';
COMMENT ON COLUMN pgflow.worker_stats.is_alive IS 'Whether it was seen within the last minute, or holds a task whose lease has not run out: a busy worker does not ask.';
COMMENT ON COLUMN pgflow.worker_stats.queues IS 'The queues that it has asked; null when it has a task and no heartbeat.';
COMMENT ON COLUMN pgflow.worker_stats.started_at IS 'When it was first seen.';
COMMENT ON COLUMN pgflow.worker_stats.last_seen_at IS 'When it last asked, to within ten seconds.';
COMMENT ON COLUMN pgflow.worker_stats.tasks_claimed IS 'About how many tasks it got since it was first seen.';
COMMENT ON COLUMN pgflow.worker_stats.tasks_held IS 'How many tasks it has under way, those included whose lease ran out.';
COMMENT ON COLUMN pgflow.worker_stats.queues_held IS 'The queues of these tasks.';
COMMENT ON COLUMN pgflow.worker_stats.oldest_held_at IS 'When it started the oldest of them.';
COMMENT ON COLUMN pgflow.worker_stats.lease_expires_at IS 'When the last of their leases runs out.';

CREATE VIEW pgflow.flow_stats WITH (security_invoker = true) AS
SELECT f.flow_slug, f.version, p.paused_at,
       coalesce(r.pending, 0) AS pending, coalesce(r.started, 0) AS started, coalesce(r.completed, 0) AS completed,
       coalesce(r.failed, 0) AS failed, coalesce(r.cancelled, 0) AS cancelled,
       coalesce(r.completed_lately, 0) AS completed_lately, coalesce(r.failed_lately, 0) AS failed_lately,
       r.average_duration, r.p95_duration,
       coalesce(a.attempts_lately, 0) AS attempts_lately, coalesce(a.attempts_failed_lately, 0) AS attempts_failed_lately,
       coalesce(a.attempts_retried_lately, 0) AS attempts_retried_lately
FROM pgflow.flows f
LEFT JOIN pgflow.paused_flows p ON p.flow_slug = f.flow_slug
LEFT JOIN (
  SELECT r.flow_slug,
         count(*) FILTER (WHERE r.status = 'pending') AS pending,
         count(*) FILTER (WHERE r.status = 'started') AS started,
         count(*) FILTER (WHERE r.status = 'completed') AS completed,
         count(*) FILTER (WHERE r.status = 'failed') AS failed,
         count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled,
         count(*) FILTER (WHERE r.status = 'completed' AND r.finished_at > n.day_ago) AS completed_lately,
         count(*) FILTER (WHERE r.status = 'failed' AND r.finished_at > n.day_ago) AS failed_lately,
         avg(r.finished_at - r.started_at)
           FILTER (WHERE r.status = 'completed' AND r.finished_at > n.day_ago) AS average_duration,
         percentile_cont(0.95) WITHIN GROUP (ORDER BY r.finished_at - r.started_at)
           FILTER (WHERE r.status = 'completed' AND r.finished_at > n.day_ago) AS p95_duration
  FROM (SELECT clock_timestamp() - interval '24 hours' AS day_ago) n
  CROSS JOIN pgflow.runs r
  GROUP BY r.flow_slug
) r ON r.flow_slug = f.flow_slug
LEFT JOIN (
  SELECT t.flow_slug, count(*) AS attempts_lately,
         count(*) FILTER (WHERE t.status IN ('failed', 'expired')) AS attempts_failed_lately,
         count(*) FILTER (WHERE t.attempt > 1) AS attempts_retried_lately
  FROM pgflow.step_tasks t
  -- The first 48 bits of a run's id are the milliseconds of its beginning.
  WHERE t.run_id >= (SELECT rpad(lpad(to_hex((extract(epoch FROM clock_timestamp() - interval '24 hours') * 1000)::bigint),
                                      12, '0'), 32, '0')::uuid)
  GROUP BY t.flow_slug
) a ON a.flow_slug = f.flow_slug;
COMMENT ON VIEW pgflow.flow_stats IS 'How the runs of each flow are doing. Reads all of runs, without payloads and outputs that are large, and the attempts of the runs made within 24 hours: a second for each million rows, so poll it once a minute, or not at all on a large system.';
COMMENT ON COLUMN pgflow.flow_stats.flow_slug IS 'The flow.';
COMMENT ON COLUMN pgflow.flow_stats.version IS 'Its latest version.';
COMMENT ON COLUMN pgflow.flow_stats.paused_at IS 'When the flow was paused; null when it is not.';
COMMENT ON COLUMN pgflow.flow_stats.pending IS 'How many runs have a start_at that lies ahead.';
COMMENT ON COLUMN pgflow.flow_stats.started IS 'How many runs are under way.';
COMMENT ON COLUMN pgflow.flow_stats.completed IS 'How many runs that are kept have completed.';
COMMENT ON COLUMN pgflow.flow_stats.failed IS 'How many runs that are kept have failed.';
COMMENT ON COLUMN pgflow.flow_stats.cancelled IS 'How many runs that are kept were cancelled.';
COMMENT ON COLUMN pgflow.flow_stats.completed_lately IS 'How many runs completed within the last 24 hours.';
COMMENT ON COLUMN pgflow.flow_stats.failed_lately IS 'How many runs failed within the last 24 hours.';
COMMENT ON COLUMN pgflow.flow_stats.average_duration IS 'How long the runs took that completed within the last 24 hours, from their start.';
COMMENT ON COLUMN pgflow.flow_stats.p95_duration IS 'How long 95 of 100 of them took at most.';
COMMENT ON COLUMN pgflow.flow_stats.attempts_lately IS 'How many attempts the runs have that were made within the last 24 hours.';
COMMENT ON COLUMN pgflow.flow_stats.attempts_failed_lately IS 'How many of these attempts failed or ran out of their lease.';
COMMENT ON COLUMN pgflow.flow_stats.attempts_retried_lately IS 'How many of them were not the first at their task.';

CREATE VIEW pgflow.run_timeline WITH (security_invoker = true) AS
SELECT t.run_id, t.flow_slug, t.step_slug, t.task_index, t.attempt, t.status, t.worker_id,
       t.queued_at, t.started_at, t.finished_at,
       coalesce(t.started_at, t.finished_at, clock_timestamp()) - t.queued_at AS waited,
       CASE WHEN t.started_at IS NOT NULL THEN coalesce(t.finished_at, clock_timestamp()) - t.started_at END AS took,
       t.error_message
FROM pgflow.step_tasks t;
COMMENT ON VIEW pgflow.run_timeline IS 'Every attempt with its times, in no order. Asked for one run_id it reads the attempts of that run, else all of step_tasks.';
COMMENT ON COLUMN pgflow.run_timeline.run_id IS 'The run.';
COMMENT ON COLUMN pgflow.run_timeline.flow_slug IS 'The flow of the run.';
COMMENT ON COLUMN pgflow.run_timeline.step_slug IS 'The step.';
COMMENT ON COLUMN pgflow.run_timeline.task_index IS 'Which task of the step: 0 for a single step.';
COMMENT ON COLUMN pgflow.run_timeline.attempt IS 'Which attempt at the task, from 1.';
COMMENT ON COLUMN pgflow.run_timeline.status IS 'Where the attempt stands.';
COMMENT ON COLUMN pgflow.run_timeline.worker_id IS 'Who claimed it, by its own words.';
COMMENT ON COLUMN pgflow.run_timeline.queued_at IS 'When the attempt was made, delays and backoff ahead of it.';
COMMENT ON COLUMN pgflow.run_timeline.started_at IS 'When it was claimed, the last time if it was released before; external and timer tasks begin at once.';
COMMENT ON COLUMN pgflow.run_timeline.finished_at IS 'When it ended.';
COMMENT ON COLUMN pgflow.run_timeline.waited IS 'How long it was queued, until now if it still is; delays are part of it.';
COMMENT ON COLUMN pgflow.run_timeline.took IS 'How long it was under way, until now if it still is; null if it never was.';
COMMENT ON COLUMN pgflow.run_timeline.error_message IS 'Why it failed.';

CREATE VIEW pgflow.stuck_runs WITH (security_invoker = true) AS
WITH clock AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), asked AS MATERIALIZED (
  SELECT DISTINCT w.queue FROM pgflow.workers w, clock c WHERE w.last_seen_at > c.now - interval '1 minute'
), tasks AS (
  SELECT l.run_id, l.step_slug, l.queue, l.executor,
         CASE WHEN l.executor = 'e' THEN l.ready_at
              WHEN l.status = 'started' THEN l.lease_expires_at
              ELSE greatest(l.ready_at, p.paused_at) END AS since,
         -- The worst cause has the lowest number; null is none, as the task moves or will.
         CASE WHEN l.executor = 'e' THEN 7
              WHEN l.status = 'started' THEN CASE WHEN l.lease_expires_at < c.now - interval '1 minute' THEN 3 END
              WHEN l.ready_at > c.now THEN NULL
              WHEN p.flow_slug IS NOT NULL THEN 1
              WHEN q.is_paused THEN 2
              WHEN l.ready_at > c.now - interval '5 minutes' THEN NULL
              WHEN l.executor = 'w' AND a.queue IS NULL THEN 4
              WHEN q.queue IS NOT NULL THEN 5
              ELSE 6 END AS cause
  FROM clock c
  CROSS JOIN pgflow.live_tasks l
  LEFT JOIN pgflow.paused_flows p ON p.flow_slug = l.flow_slug
  LEFT JOIN pgflow.queues q ON q.queue = l.queue
  LEFT JOIN asked a ON a.queue = l.queue
), causes AS (
  SELECT DISTINCT ON (t.run_id) t.run_id, t.step_slug, t.queue, t.since, t.cause, t.executor
  FROM tasks t
  ORDER BY t.run_id, t.cause NULLS FIRST, t.since
)
SELECT r.run_id, r.flow_slug, r.status, r.key, r.created_at, coalesce(c.step_slug, m.step_slug) AS step_slug, c.queue, c.since,
       CASE c.cause
       WHEN 1 THEN 'the flow is paused'
       WHEN 2 THEN 'the queue is paused'
       WHEN 3 THEN CASE c.executor WHEN 't' THEN 'the timer fell due and nobody has asked the queue for tasks since'
                                   ELSE 'the lease ran out and nobody has asked the queue for tasks since' END
       WHEN 4 THEN 'no worker has asked the queue for tasks within a minute'
       WHEN 5 THEN 'the queue is limited'
       WHEN 6 THEN CASE c.executor WHEN 'w' THEN 'the workers of the queue do not get to it'
                                   ELSE 'no background worker gets to it' END
       WHEN 7 THEN 'the step waits to be completed from outside'
       ELSE CASE WHEN m.step_slug IS NOT NULL THEN 'the step waits to be started by hand'
                 ELSE 'nothing is left that could move it: see check_integrity()' END
       END AS reason
FROM pgflow.runs r
LEFT JOIN causes c ON c.run_id = r.run_id
LEFT JOIN LATERAL (
  SELECT s.step_slug FROM pgflow.step_states s
  WHERE c.run_id IS NULL AND s.run_id = r.run_id AND s.status = 'pending' AND s.remaining_deps = 0
  ORDER BY s.step_slug
  LIMIT 1) m ON true
WHERE r.status IN ('pending', 'started') AND (c.run_id IS NULL OR c.cause IS NOT NULL);
COMMENT ON VIEW pgflow.stuck_runs IS 'Open runs that nobody moves, with the reason; a run of which any task is being worked on, waits for a time or has been ready for less than five minutes is not among them. Reads all of runs, without payloads and outputs that are large, and all of live_tasks: for looking, and for an alarm once a minute.';
COMMENT ON COLUMN pgflow.stuck_runs.run_id IS 'The run.';
COMMENT ON COLUMN pgflow.stuck_runs.flow_slug IS 'Its flow.';
COMMENT ON COLUMN pgflow.stuck_runs.status IS 'Where the run stands: pending or started.';
COMMENT ON COLUMN pgflow.stuck_runs.key IS 'The business key of the run.';
COMMENT ON COLUMN pgflow.stuck_runs.created_at IS 'When the run was made.';
COMMENT ON COLUMN pgflow.stuck_runs.step_slug IS 'The step that it is stuck at; the worst of them, if there are several.';
COMMENT ON COLUMN pgflow.stuck_runs.queue IS 'The queue of that step; null for one that was not started.';
COMMENT ON COLUMN pgflow.stuck_runs.since IS 'Since when: its task was ready, its lease had run out, or the flow was paused.';
COMMENT ON COLUMN pgflow.stuck_runs.reason IS 'Why, as a sentence: a pause, a lease that ran out more than a minute ago, no worker, limits, workers that do not get to it, or a step that waits for complete_step or start_step.';
