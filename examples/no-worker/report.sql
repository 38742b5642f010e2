-- What came of a run.
\pset footer off
\pset linestyle unicode
\pset border 1
\pset null ''

\echo
\echo 'The run. █ is work, ░ waiting for a time or a human, × a failed attempt, · waiting for its turn.'
\echo
\pset format unaligned
\pset tuples_only on
WITH run AS (
  SELECT run_id, started_at AS begun, (finished_at - started_at) / 60 AS slice FROM pgflow.runs WHERE run_id = :'run_id'
), steps AS (
  SELECT s.*, '  ' || rpad(s.step_slug, 11)
              || rpad(s.executor || CASE s.step_type WHEN 'map' THEN ' × ' || s.initial_tasks ELSE '' END, 12)
              || lpad(CASE WHEN s.finished_at - s.started_at < '1 second'
                           THEN round(extract(milliseconds FROM s.finished_at - s.started_at)) || ' ms'
                           ELSE round(extract(epoch FROM s.finished_at - s.started_at), 1) || ' s' END, 8) AS head
  FROM jsonb_to_recordset(pgflow.get_run(:'run_id') -> 'steps')
    AS s (step_index integer, step_slug text, executor text, step_type text, initial_tasks integer,
          started_at timestamptz, finished_at timestamptz)
), slices AS (
  SELECT n, r.begun + n * r.slice AS since, r.begun + (n + 1) * r.slice AS until FROM run r, generate_series(0, 59) n
)
SELECT s.head || '  ' || rtrim(string_agg(
         CASE WHEN a.failed THEN '×' WHEN a.worked AND s.executor IN ('timer', 'external') THEN '░'
              WHEN a.worked THEN '█' WHEN s.started_at < c.until AND s.finished_at >= c.since THEN '·' ELSE ' ' END,
         '' ORDER BY c.n))
FROM steps s
CROSS JOIN slices c
CROSS JOIN LATERAL (
  SELECT bool_or(t.status = 'failed' AND t.finished_at >= c.since AND t.finished_at < c.until) AS failed,
         bool_or(t.started_at < c.until AND t.finished_at >= c.since) AS worked
  FROM pgflow.run_timeline t
  WHERE t.run_id = :'run_id' AND t.step_slug = s.step_slug
) a
GROUP BY s.step_index, s.head
ORDER BY s.step_index;

\echo
\echo 'What failed, and was tried again by itself:'
\echo
SELECT format('  %s[%s] attempt %s: %s', failed.step_slug, failed.task_index, failed.attempt, failed.error_message)
       || format(E'\n  attempt %s began %s s later: %s', again.attempt,
                 round(extract(epoch FROM again.started_at - failed.finished_at), 1), again.status)
FROM pgflow.run_timeline failed
JOIN pgflow.run_timeline again USING (run_id, step_slug, task_index)
WHERE run_id = :'run_id' AND failed.status = 'failed' AND again.attempt = failed.attempt + 1;

\echo
\echo 'Who did it: processes of the server itself.'
\echo
SELECT format('  %s, process %s of PostgreSQL: %s tasks', a.backend_type, a.pid, count(*))
FROM pgflow.run_timeline t
JOIN pg_stat_activity a ON t.worker_id = 'pgflow/' || a.pid
WHERE t.run_id = :'run_id' AND t.status = 'completed'
GROUP BY a.backend_type, a.pid
ORDER BY count(*);

\echo
\echo 'The report: Flesch\'s reading ease of each page (60 is plain English), and its hardest section.'
\echo
\pset format aligned
\pset tuples_only off
SELECT path AS page, sections, words, reading_ease AS ease, left(hardest, 44) AS hardest_section
FROM handbook.report
WHERE edition = (SELECT payload ->> 'edition' FROM pgflow.runs WHERE run_id = :'run_id')
ORDER BY reading_ease DESC;

\pset format unaligned
\pset tuples_only on
SELECT format('%s links from page to page, %s of them lead nowhere', links ->> 'checked', jsonb_array_length(links -> 'broken'))
       || coalesce((SELECT string_agg(E'\n  ' || target, '') FROM jsonb_array_elements_text(links -> 'broken') target), '')
FROM (SELECT output -> 'links' AS links FROM pgflow.runs WHERE run_id = :'run_id') run;
