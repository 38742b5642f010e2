-- What a call about one run needs to know of it.
-- Locks nothing.
select r.definition_id, r.flow_slug::text, r.flow_version, r.status, r.priority, r.start_at
from pgflow.runs r where r.run_id = $1
