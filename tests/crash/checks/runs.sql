-- no acknowledged run is lost
SELECT format('run %s of %s, key %s', run_id, flow_slug, key) FROM crash_test.runs a
WHERE NOT EXISTS (SELECT FROM pgflow.runs r
                  WHERE r.run_id = a.run_id AND r.flow_slug = a.flow_slug AND r.idempotency_key = a.key);

-- Must notice:
DELETE FROM pgflow.runs WHERE run_id = (SELECT run_id FROM crash_test.runs LIMIT 1);
