-- one key starts one run, however often it is used
SELECT format('key %s was answered with %s', key, array_agg(DISTINCT run_id)) FROM crash_test.runs
GROUP BY key HAVING count(DISTINCT run_id) > 1
UNION ALL
SELECT format('key %s is that of %s', idempotency_key, array_agg(run_id)) FROM pgflow.runs
GROUP BY idempotency_key HAVING count(*) > 1;

-- Must notice:
UPDATE pgflow.runs SET idempotency_key = (SELECT key FROM crash_test.runs LIMIT 1)
WHERE run_id = (SELECT max(run_id::text)::uuid FROM crash_test.runs);
