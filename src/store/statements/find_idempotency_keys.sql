-- The runs that idempotency keys belong to.
-- Locks nothing.
select k.idempotency_key::text, k.run_id
from unnest($1::text[]) u(idempotency_key)
join pgflow.idempotency_keys k on k.idempotency_key = u.idempotency_key
where k.flow_slug = $2 and k.created_by = $3::name and k.created_for is not distinct from $4
