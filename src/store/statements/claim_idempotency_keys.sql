-- Claims idempotency keys for new runs, in the order of the keys, so that batches do not deadlock.
-- Inserts; waits for another transaction that has claimed the same key and not ended.
insert into pgflow.idempotency_keys (run_id, flow_slug, idempotency_key, created_by, created_for)
select u.run_id, $3, u.idempotency_key, $4::name, $5
from unnest($1::uuid[], $2::text[]) with ordinality u(run_id, idempotency_key, ordinal)
order by u.idempotency_key collate "C", u.ordinal
on conflict on constraint "an idempotency key starts one run" do nothing
