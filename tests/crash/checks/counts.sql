WITH attempts AS (
  SELECT count(*) AS all, count(*) FILTER (WHERE attempt = 1) AS tasks, count(*) FILTER (WHERE status = 'completed') AS completed,
    count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'expired') AS expired
  FROM pgflow.step_tasks),
receipts AS (
  SELECT count(*) FILTER (WHERE accepted AND call = 'complete') AS completions,
    count(*) FILTER (WHERE accepted AND call = 'fail') AS failures,
    count(*) FILTER (WHERE accepted AND call = 'release') AS releases, count(*) FILTER (WHERE NOT accepted) AS refusals
  FROM crash_test.receipts),
counts (line, text) AS (
  SELECT 1, format('%s flows, %s runs (%s completed, %s failed)', (SELECT count(*) FROM pgflow.flows), count(*),
    count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'))
  FROM pgflow.runs
  UNION ALL
  SELECT 2, format('%s tasks (%s completed), %s attempts (%s failed, %s taken over when their lease ran out)',
    tasks, completed, a.all, failed, expired)
  FROM attempts a
  UNION ALL
  SELECT 3, format('acknowledged: %s definitions, %s runs, %s claims, %s more without waiting for the disk',
    (SELECT count(*) FROM crash_test.definitions), (SELECT count(*) FROM crash_test.runs),
    count(*) FILTER (WHERE durable), count(*) FILTER (WHERE NOT durable))
  FROM crash_test.claims
  UNION ALL
  SELECT 4, format('acknowledged: %s completions, %s failures, %s releases; %s refused', completions, failures, releases, refusals)
  FROM receipts
  UNION ALL
  SELECT 5, format('effects: %s in files, %s of them beyond one for each attempt that completed or failed; %s in the table',
    count(*), count(*) - (SELECT completed + failed FROM attempts), (SELECT count(*) FROM crash_test.ledger))
  FROM crash_test.deeds WHERE kind = 'effect')
SELECT text FROM counts ORDER BY line;
