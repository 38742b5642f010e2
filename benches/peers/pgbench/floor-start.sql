-- Starts runs of the chain. Variable: runs.
WITH new AS MATERIALIZED (
  SELECT overlay(overlay(gen_random_uuid()::text PLACING lpad(to_hex(n), 8, '0') FROM 1 FOR 8) PLACING '7' FROM 15)::uuid AS run_id,
         jsonb_build_object('n', n) AS payload, clock_timestamp() AS now
  FROM generate_series(1, :runs) n
), runs AS (
  INSERT INTO floor.runs SELECT run_id, 'started', payload, NULL, now FROM new
), states AS (
  INSERT INTO floor.step_states
  SELECT run_id, slug, CASE slug WHEN 'one' THEN 'started' ELSE 'pending' END, NULL, now, CASE slug WHEN 'one' THEN now END
  FROM new, unnest(ARRAY['one', 'two', 'three']) slug
), tasks AS (
  INSERT INTO floor.step_tasks SELECT run_id, 'one', 1, 'queued', NULL, now FROM new
)
INSERT INTO floor.live_tasks SELECT run_id, 'one', 1, now FROM new;
