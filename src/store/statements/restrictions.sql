-- What holds tasks of a queue back: whether it is paused, whether it is limited, and which flows with steps in it are paused.
-- Locks nothing.
select coalesce(q.is_paused, false),
       num_nonnulls(q.max_running, q.max_running_per_key, q.max_started, q.max_started_per_key) > 0,
       array(select f.flow_slug::text from pgflow.paused_flows f
             where exists (select from pgflow.steps s where s.flow_slug = f.flow_slug and s.queue = $1))
from (select $1::text as queue) u
left join pgflow.queues q on q.queue = u.queue
