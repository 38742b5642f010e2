-- What came of a run of digest and of its children, a run for each page.

\echo
\echo 'The digest:'
\echo
SELECT format(E'  %s\n\n  %s pages with %s words. Most of them are about: %s.',
              output ->> 'lead', output ->> 'pages', output ->> 'words',
              (SELECT string_agg(topic ->> 'keyword', ', ') FROM jsonb_array_elements(output -> 'topics') topic))
FROM pgflow.runs WHERE run_id = :'run_id';

\echo
\echo 'Some of its pages, with what the model says about them:'
\echo
SELECT format(E'  %s: %s', entry ->> 'title', entry ->> 'summary')
FROM pgflow.step_states s, jsonb_array_elements(s.output) WITH ORDINALITY AS page (entry, place)
WHERE s.run_id = :'run_id' AND s.step_slug = 'pages' AND entry <> 'null'
ORDER BY place
LIMIT 4;

\echo
\echo 'What failed, and was tried again by itself:'
\echo
SELECT format('  %s × %s', count(*), split_part(t.error_message, E'\n', 1))
FROM pgflow.runs r JOIN pgflow.step_tasks t USING (run_id)
WHERE :'run_id' IN (r.run_id, r.parent_run_id) AND t.status = 'failed'
  AND EXISTS (SELECT FROM pgflow.step_tasks again
              WHERE (again.run_id, again.step_slug, again.task_index) = (t.run_id, t.step_slug, t.task_index)
                AND again.attempt = t.attempt + 1)
GROUP BY split_part(t.error_message, E'\n', 1)
ORDER BY count(*) DESC;

\echo
\echo 'What failed for good, and was left out:'
\echo
SELECT format('  %s; skipped: %s', min(split_part(s.error_message, E'\n', 1)),
              string_agg(s.step_slug, ', ' ORDER BY s.step_slug))
FROM pgflow.runs r JOIN pgflow.step_states s USING (run_id)
WHERE r.parent_run_id = :'run_id' AND s.status = 'skipped'
GROUP BY r.run_id;
