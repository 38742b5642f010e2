-- Prints what is promised, beside what was measured. Part of report.sql.

-- Rates of pgflow's clients and of the peers are compared with clients in Node.js on both sides, those of the floor with
-- pgbench on both sides.
CREATE TEMP VIEW beside AS
SELECT v.n, v.what, pg_temp.median(v.section_a, v.a, 'rate') AS measured, v.peer,
       pg_temp.median(v.section_b, v.b, 'rate') AS beside,
       pg_temp.ratio(v.section_a, v.a, 'rate', v.section_b, v.b, 'rate') AS ratio, v.bound
FROM (VALUES
  (10, 'chain, batch 1, claim and complete apart, 20 clients', 'chain', 'pgflow, batch 1, 20 clients (Node.js)', 'absurd', 'chain', 'absurd,%', 3),
  (11, 'the same, claims with synchronous_commit off', 'chain', 'pgflow, batch 1, 20 clients, claims with%(Node.js)', 'absurd', 'chain', 'absurd,%', 3),
  (12, 'chain, batch 10, 8 clients', 'chain', 'pgflow, batch 10, 8 clients (Node.js)', 'absurd', 'chain', 'absurd,%', 6),
  (13, 'chain, batch 100, 4 clients', 'chain', 'pgflow, batch 100, 4 clients (Node.js)', 'absurd', 'chain', 'absurd,%', 15),
  (14, 'chain, batch 100, 4 clients', 'chain', 'pgflow, batch 100, 4 clients (Node.js)', 'graphile-worker batched', 'jobs', 'graphile-worker, local queue%', 0.8),
  (15, 'diamond, batch 50, 4 clients', 'diamond', 'pgflow, batch 50,%(Node.js)', 'absurd''s chain', 'chain', 'absurd,%', 12),
  (16, 'map of 6,000 elements of 1 kB, batch 50, 4 clients', 'map of 1 kB', 'pgflow, 6,000 elements%', 'graphile-worker batched', 'jobs', 'graphile-worker, local queue%', 0.6),
  (17, 'map of 6,000 elements of 1 kB, batch 50, 4 clients', 'map of 1 kB', 'pgflow, 6,000 elements%', 'graphile-worker batched, 1 kB', 'jobs', 'graphile-worker, the same with payloads of 1 kB%', 0.6),
  (19, 'run_flows, 1,000 runs a call', 'start', 'pgflow, run_flows,%', 'absurd''s spawns', 'start', 'absurd,%', 6),
  (20, 'chain, batch 1, 20 clients', 'chain', 'pgflow, batch 1, 20 clients (pgbench)', 'the floor', 'chain', 'floor, batch 1, 20 clients (pgbench)', 0.6),
  (21, 'the same, claims with synchronous_commit off', 'chain', 'pgflow, batch 1, 20 clients, claims with%(pgbench)', 'the floor', 'chain', 'floor, batch 1, 20 clients, claims with%', 0.6),
  (22, 'chain, batch 10, 8 clients', 'chain', 'pgflow, batch 10, 8 clients (pgbench)', 'the floor', 'chain', 'floor, batch 10,%', 0.6),
  (23, 'chain, batch 100, 4 clients', 'chain', 'pgflow, batch 100, 4 clients (pgbench)', 'the floor', 'chain', 'floor, batch 100,%', 0.6),
  (31, 'chain beside finished runs in the tables', 'history', '%finished runs', 'no history', 'history', 'no history', 0.9))
  v(n, what, section_a, a, peer, section_b, b, bound);

-- What grows: the cost of one thing where there are many, to that where there are few.
CREATE TEMP VIEW growth AS
SELECT v.n, v.what, pg_temp.median(v.section, v.many, v.measure) AS measured, v.peer,
       pg_temp.median(v.section, v.few, v.measure) AS beside,
       pg_temp.ratio(v.section, v.many, v.measure, v.section, v.few, v.measure) AS ratio, v.bound
FROM (VALUES
  (34, 'small runs beside a large one, milliseconds', 'fairness', 'milliseconds', 'beside%', 'alone', 'alone', 2.0),
  (35, format('%s in layers, µs of processor a step', coalesce(pg_temp.label('layers', true), 'the most')), 'layers', 'cpu', pg_temp.label('layers', true), pg_temp.label('layers', false), pg_temp.label('layers', false), 1.25),
  (36, format('ladder of %s, µs of processor a step', coalesce(pg_temp.label('ladder', true), 'the most')), 'ladder', 'cpu', pg_temp.label('ladder', true), pg_temp.label('ladder', false), pg_temp.label('ladder', false), 1.25),
  (37, format('%s at a time, µs of processor a step', coalesce(pg_temp.label('runs', true), 'the most')), 'runs', 'cpu', pg_temp.label('runs', true), pg_temp.label('runs', false), pg_temp.label('runs', false), 1.25),
  (38, format('map of %s, µs of processor for each', coalesce(pg_temp.label('map', true), 'the most')), 'map', 'cpu', pg_temp.label('map', true), pg_temp.label('map', false), pg_temp.label('map', false), 1.25))
  v(n, what, section, measure, many, peer, few, bound);

-- A promise is about the ratio if it has one to something beside it, else about what was measured.
WITH promises (n, what, measured, peer, beside, is_ratio, ratio, least, most) AS (
  SELECT n, what || ', a second', measured, peer, beside, true, ratio, bound::float8, NULL::float8 FROM beside
  UNION ALL
  SELECT n, what, measured, peer, beside, true, ratio, NULL, bound::float8 FROM growth
  UNION ALL
  -- A cost is the inverse of a rate.
  SELECT 18, 'map of 60,000 elements of 1 kB, µs for each', 1e6 / pg_temp.median(s, '%60,000 elements%', 'rate'), '6,000 elements',
         1e6 / pg_temp.median(s, 'pgflow, 6,000 elements%', 'rate'), true,
         pg_temp.ratio(s, 'pgflow, 6,000 elements%', 'rate', s, '%60,000 elements%', 'rate'), NULL, 1.2
  FROM (VALUES ('map of 1 kB')) sections(s)
  UNION ALL
  SELECT 24, 'statements inside a completion that starts one dependent', pg_temp.median('statements', '%', 'statements'), NULL, NULL, false, NULL, NULL, 5
  UNION ALL
  SELECT 25, 'how often each of them is planned in a session', pg_temp.median('statements', '%', 'plans'), NULL, NULL, false, NULL, NULL, 1
  UNION ALL
  SELECT 26, 'bytes of WAL for a run of the chain, batch 10, without its start', pg_temp.median('wal', 'working it off', 'bytes'),
         'absurd', 3 * pg_temp.median('chain', 'absurd,%', 'wal'), false, NULL, NULL, 4000
  UNION ALL
  SELECT 27, 'bytes of WAL for a run of the chain, batch 10, from start to end', pg_temp.median('wal', 'from start to end', 'bytes'), NULL, NULL, false, NULL, NULL, 4000
  UNION ALL
  SELECT 28, 'commits for a run of the chain, batch 10', pg_temp.median('wal', 'from start to end', 'commits'),
         'absurd', 3 * pg_temp.median('chain', 'absurd,%', 'commits'), false, NULL, NULL, 2
  UNION ALL
  SELECT 29, 'HOT updates of step states, percent', 100 * pg_temp.median('updates', 'step_states', 'hot'), NULL, NULL, false, NULL, 90, NULL
  UNION ALL
  SELECT 30, 'HOT updates of task attempts, percent', 100 * pg_temp.median('updates', 'step_tasks', 'hot'), NULL, NULL, false, NULL, 90, NULL
  UNION ALL
  SELECT 32, 'steady load beside an open transaction, at its end, a second', pg_temp.median('held', 'a transaction%', 'last'), 'without it',
         pg_temp.median('held', 'nothing%', 'last'), true, pg_temp.ratio('held', 'a transaction%', 'last', 'held', 'nothing%', 'last'), 0.75, NULL
  UNION ALL
  SELECT 33, 'the same, how flat it is, a second', pg_temp.median('held', 'a transaction%', 'last'), 'half way',
         pg_temp.median('held', 'a transaction%', 'middle'), true, pg_temp.ratio('held', 'a transaction%', 'last', 'held', 'a transaction%', 'middle'), 0.9, NULL
  UNION ALL
  SELECT 39, 'claim plans that walk the index of ready tasks and read nothing else of them, percent', 100 * avg(median), NULL, NULL, false, NULL, 100, NULL
  FROM figures WHERE section = 'plans' AND measure = 'holds'
), judged AS (
  SELECT *, CASE WHEN is_ratio THEN ratio ELSE measured END AS judged FROM promises
)
SELECT format(E'\n## What is promised\n\n| | measured | beside it | ratio | bound | holds |\n| --- | ---: | --- | ---: | ---: | --- |\n%s',
              string_agg(format('| %s | %s | %s | %s | %s | %s |', what,
                coalesce(nullif(pg_temp.figure(measured), ''), 'not measured'),
                concat_ws(' ', nullif(pg_temp.figure(beside), ''), CASE WHEN beside IS NOT NULL THEN peer END),
                pg_temp.figure(ratio),
                CASE WHEN least IS NOT NULL THEN '≥ ' || pg_temp.figure(least) ELSE '≤ ' || pg_temp.figure(most) END,
                CASE WHEN judged IS NULL THEN 'unknown' WHEN judged >= least OR judged <= most THEN 'yes' ELSE '**no**' END),
              E'\n' ORDER BY n))
FROM judged;
