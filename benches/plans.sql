-- Functions that make up ready tasks and look at the plan of the prepared statement claim.

-- Adds ready tasks, each of a run and turn of its own, up to a number of them.
CREATE FUNCTION pg_temp.fill(tasks int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO pgflow.live_tasks (run_id, definition_id, task_index, first_attempt, step_index, flow_version, rank, timeout,
                                 opens_run, step_slug, flow_slug, queue, executor, attempt, turn, ready_at, status)
  SELECT gen_random_uuid(), 1, 0, 1, 0, 1, ~0, 60, false, 'one', 'chain', 'chain', 'worker', 1, n, now(), 'ready'
  FROM generate_series((SELECT count(*) FROM pgflow.live_tasks) + 1, tasks) n
$$;

-- Claims ten tasks by the prepared statement and returns lines of measurements: how many rows and pages the walk over
-- ready tasks met, and 1 if everything is as it should be: the walk is in the order of its index, locks rows as it
-- meets them and meets none that it does not hand out, and the table is read in no other way than by the whole key.
CREATE FUNCTION pg_temp.examine(title text) RETURNS TABLE (section text, label text, measure text, value float8)
LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE format($claim$
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim ('chain', 10, %L, NULL, NULL,
      '{1,2,3,4,5,6,7,8,9,10}', '{-2147483648}', '{-9223372036854775808}', '{9223372036854775807}')
    $claim$, clock_timestamp()) INTO plan;
  RETURN QUERY
  WITH RECURSIVE nodes AS (
    SELECT plan::jsonb -> 0 -> 'Plan' AS node, ARRAY[]::text[] AS above
    UNION ALL
    SELECT child, n.above || (n.node ->> 'Node Type')
    FROM nodes n, jsonb_array_elements(n.node -> 'Plans') child
  ), scans AS (
    SELECT node ->> 'Node Type' IN ('Index Scan', 'Index Only Scan') AND node ? 'Index Cond' AS is_by_index,
           coalesce(node ->> 'Index Name', lower(node ->> 'Node Type')) ||
             CASE WHEN node ? 'Index Cond' THEN '' ELSE ' as a whole' END AS way,
           coalesce(above[cardinality(above) - 1:] = '{Limit,LockRows}', false) AS is_walk,
           (node ->> 'Actual Rows')::float8 * (node ->> 'Actual Loops')::float8 AS met,
           coalesce((node ->> 'Rows Removed by Filter')::float8, 0) AS refused,
           (node ->> 'Shared Hit Blocks')::float8 + (node ->> 'Shared Read Blocks')::float8 AS pages
    FROM nodes
    WHERE node ->> 'Relation Name' = 'live_tasks' AND node ->> 'Node Type' LIKE '%Scan'
  ), summary AS (
    SELECT string_agg(format('"%s"', way), ', then ' ORDER BY is_walk DESC, way) AS ways,
           max(met) FILTER (WHERE is_walk) AS met, max(pages) FILTER (WHERE is_walk) AS pages,
           count(*) FILTER (WHERE is_walk) = 1 AND bool_and(is_by_index)
             AND bool_and(met <= 10 AND refused = 0) AS holds
    FROM scans
  )
  SELECT 'plans', format('%s: %s', title, ways), v.measure, v.value
  FROM summary, LATERAL (VALUES ('rows', met), ('pages', pages), ('holds', holds::int)) v(measure, value)
  WHERE v.value IS NOT NULL;
END
$$;
