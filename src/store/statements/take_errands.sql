-- Takes the errands that are due, $2 at most.
-- Deletes them; skips those that someone else holds.
with due as materialized (
  select e.run_id, e.errand_id from pgflow.errands e
  where e.due_at <= $1
  order by e.due_at
  limit $2
  for update skip locked
)
delete from pgflow.errands e using due d
where e.run_id = d.run_id and e.errand_id = d.errand_id
returning e.run_id, e.kind
