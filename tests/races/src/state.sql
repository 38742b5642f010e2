-- Everything that a serial execution would leave the same: no times, leases or turns. A map's remaining_tasks may lag
-- while it runs.
select r.run_id::text, jsonb_build_object(
  'run', r.status, 'payload', r.payload, 'output', r.output, 'error', r.error_message, 'key', r.key,
  'idempotency_key', r.idempotency_key, 'parent', r.parent_run_id, 'version', r.flow_version,
  'leaves', r.remaining_leaves, 'began', r.started_at is not null,
  'steps', (select jsonb_agg(jsonb_build_array(s.step_slug, s.status, s.remaining_deps, s.initial_tasks,
                                               case when s.status <> 'started' then s.remaining_tasks end,
                                               s.output, s.error_message, s.skip_reason, s.started_at is not null)
                             order by s.step_slug)
            from pgflow.step_states s where s.run_id = r.run_id),
  'attempts', (select jsonb_agg(jsonb_build_array(t.step_slug, t.task_index, t.attempt, t.status, t.output,
                                                  t.error_message, t.started_at is not null,
                                                  case when $1 then t.worker_id end)
                                order by t.step_slug, t.task_index, t.attempt)
               from pgflow.step_tasks t where t.run_id = r.run_id),
  'live', (select jsonb_agg(jsonb_build_array(l.step_slug, l.task_index, l.attempt, l.first_attempt, l.status,
                                              l.executor, l.queue, l.opens_run, l.lease is not null)
                            order by l.step_slug, l.task_index)
           from pgflow.live_tasks l where l.run_id = r.run_id))::text
from pgflow.runs r
union all
select 'flow', jsonb_build_object(
  'flow', f.flow_slug, 'version', f.version,
  'versions', (select jsonb_agg(jsonb_build_array(v.version, v.frozen_at is not null,
                                                  pgflow.flow_graph(f.flow_slug, v.version)
                                                    - array['created_at', 'updated_at', 'frozen_at']) order by v.version)
               from pgflow.flow_versions v where v.flow_slug = f.flow_slug))::text
from pgflow.flows f
union all
select 'rows', jsonb_build_object(
  'keys', (select count(*) from pgflow.idempotency_keys), 'states', (select count(*) from pgflow.step_states),
  'attempts', (select count(*) from pgflow.step_tasks), 'live', (select count(*) from pgflow.live_tasks),
  'versions', (select count(*) from pgflow.flow_versions), 'steps', (select count(*) from pgflow.steps))::text
