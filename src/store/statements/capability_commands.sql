-- What a capability is to PostgreSQL: the commands that give ($1) the role $2 what capability $3 needs, or take away what
-- none of its other capabilities needs. This list is the whole of it: what is not in it is for nobody but the owner.
-- Locks nothing.
with listed(capabilities, kind, privilege, objects) as (values
  ('client worker author operator', 'schema', 'usage', 'pgflow'),
  ('worker operator', 'schema', 'usage', 'pgflow_locks'),
  -- What policies ask.
  ('client worker author operator', 'function', 'execute',
   'pgflow.sees_everything pgflow.seen_creators pgflow.on_behalf_of pgflow.owned_flows pgflow.runnable_flows pgflow.served_queues'),
  -- Relationships for PostgREST.
  ('client worker author operator', 'function', 'execute', 'pgflow.step_states pgflow.step_tasks'),
  -- Functions.
  ('client worker author operator', 'function', 'execute', 'pgflow.complete_step pgflow.send_event'),
  ('client author operator', 'function', 'execute', 'pgflow.run_flow pgflow.run_flows pgflow.get_run pgflow.flow_graph'),
  ('client author operator', 'function', 'execute', 'pgflow.flow_svg pgflow.run_svg pgflow.flow_mermaid pgflow.run_mermaid'),
  ('worker', 'function', 'execute', 'pgflow.claim_step_tasks pgflow.settle_and_claim'),
  ('worker operator', 'function', 'execute', 'pgflow_locks.queue_key'),
  ('worker author operator', 'function', 'execute',
   'pgflow.complete_step_task pgflow.fail_step_task pgflow.extend_step_task pgflow.release_step_task pgflow.settle_step_tasks'),
  ('author', 'function', 'execute',
   'pgflow.create_flow pgflow.add_step pgflow.define_flow pgflow.delete_flow pgflow.set_http_secrets pgflow.set_retention pgflow.set_realtime'),
  ('author operator', 'function', 'execute',
   'pgflow.start_step pgflow.cancel_run pgflow.retry_run pgflow.fork_run pgflow.schedule_flow pgflow.unschedule_flow'),
  ('author operator', 'function', 'execute',
   'pgflow.pause_flow pgflow.resume_flow pgflow.grant_run pgflow.revoke_run pgflow.grant_step pgflow.revoke_step'),
  ('operator', 'function', 'execute',
   'pgflow.limit_queue pgflow.pause_queue pgflow.resume_queue pgflow.grant_queue pgflow.revoke_queue'),
  ('operator', 'function', 'execute', 'pgflow.prune_runs pgflow.check_integrity pgflow.run_upkeep pgflow.start_background'),
  ('operator', 'function', 'execute', 'pgflow_locks.run_key pgflow_locks.lock_run pgflow_locks.events_key pgflow.publish'),
  -- Tables and views, of which policies show what is theirs.
  ('client worker author operator', 'table', 'select',
   'pgflow.runs pgflow.step_states pgflow.step_tasks pgflow.run_timeline pgflow.steps'),
  ('client author operator', 'table', 'select', 'pgflow.flows pgflow.flow_versions pgflow.deps'),
  ('author operator', 'table', 'select',
   'pgflow.schedules pgflow.paused_flows pgflow.run_grants pgflow.step_grants pgflow.flow_stats pgflow.realtime_flows'),
  ('worker operator', 'table', 'select', 'pgflow.queues pgflow.workers'),
  ('operator', 'table', 'select',
   'pgflow.live_tasks pgflow.run_deadlines pgflow.errands pgflow.events pgflow.event_waiters pgflow.queue_starts'),
  ('operator', 'table', 'select', 'pgflow.access_grants pgflow.queue_grants'),
  ('operator', 'table', 'select', 'pgflow.queue_stats pgflow.worker_stats pgflow.stuck_runs pgflow_locks.held')
), rights as (
  select c.capability, l.kind, l.privilege, o.object
  from listed l
  cross join lateral string_to_table(l.capabilities, ' ') c(capability)
  cross join lateral string_to_table(l.objects, ' ') o(object)
)
select format(case when $1 then 'grant %s on %s %s to %I' else 'revoke %s on %s %s from %I' end,
              r.privilege, r.kind, string_agg(r.object, ', ' order by r.object), $2::text)
from rights r
where r.capability = $3
  and ($1 or not exists (
    select
    from pgflow.access_grants g
    join rights other on other.capability = g.capability
    where g.role_name = $2::text::name and (other.kind, other.object) = (r.kind, r.object)))
group by r.privilege, r.kind
order by r.kind
