-- How the runs of half_way.sql ended, in the order in which they began: the same wherever they were worked to their end.
SELECT r.flow_slug, r.flow_version, r.payload, r.status, r.output, r.error_message,
       (SELECT string_agg(s.step_slug || ' ' || s.status, ', ' ORDER BY s.step_slug COLLATE "C")
        FROM pgflow.step_states s WHERE s.run_id = r.run_id) AS steps,
       (SELECT string_agg(format('%s[%s] %s %s', t.step_slug, t.task_index, t.attempt, t.status), ', '
                          ORDER BY t.step_slug COLLATE "C", t.task_index, t.attempt)
        FROM pgflow.step_tasks t WHERE t.run_id = r.run_id) AS attempts
FROM pgflow.runs r
ORDER BY r.run_id;
