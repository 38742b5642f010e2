-- Has PostgreSQL refuse (40001) a transaction whose snapshot is older than a waiter that is there: a row that a snapshot
-- does not see is in the way of an insertion all the same.
-- Inserts nothing.
insert into pgflow.event_waiters (run_id, step_slug, task_index, event_key, name, times_out_at)
values ($1, $2, $3, 0, '', 'infinity')
on conflict do nothing
