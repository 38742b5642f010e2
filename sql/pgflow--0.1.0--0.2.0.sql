-- From 0.1.0 to 0.2.0: the key of live tasks costs less to look up and to keep.

-- The table is small, and everybody else waits for as long as its index is built.
ALTER TABLE pgflow.live_tasks
  DROP CONSTRAINT "a live task is known by its run, step and index",
  ADD CONSTRAINT "a live task is known by its run, step and index" PRIMARY KEY (run_id, task_index, step_slug)
    WITH (deduplicate_items = off);
