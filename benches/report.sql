-- Reads measurements (section, label, measure, value) from standard input and prints them as tables in Markdown.
-- Variables: facts, a line on the machine; options, a line on how it was measured.

CREATE TEMP TABLE lines (line int GENERATED ALWAYS AS IDENTITY, section text, label text, measure text, value float8);
\copy lines (section, label, measure, value) FROM pstdin

-- The nth value of a measure is that of the nth round.
CREATE TEMP VIEW measurements AS
SELECT *, row_number() OVER (PARTITION BY section, label, measure ORDER BY line) AS round FROM lines;

CREATE TEMP VIEW figures AS
SELECT section, label, measure, min(line) AS place, count(*) AS rounds, min(value) AS least, max(value) AS most,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median
FROM measurements GROUP BY section, label, measure;

-- A figure with three digits or, if it is large, without a fraction.
CREATE FUNCTION pg_temp.figure(value float8) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(CASE WHEN abs(value) >= 100 THEN to_char(value, 'FM999,999,999,990')
                       WHEN abs(value) >= 10 THEN to_char(value, 'FM990.0')
                       ELSE to_char(value, 'FM990.00') END, '')
$$;

-- The median of the ratios of two measures in each round; labels are patterns of LIKE.
CREATE FUNCTION pg_temp.ratio(section_a text, label_a text, measure_a text, section_b text, label_b text, measure_b text)
RETURNS float8 LANGUAGE sql AS $$
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a.value / nullif(b.value, 0))
  FROM measurements a JOIN measurements b USING (round)
  WHERE a.section = section_a AND a.label LIKE label_a AND a.measure = measure_a
    AND b.section = section_b AND b.label LIKE label_b AND b.measure = measure_b
$$;

CREATE FUNCTION pg_temp.median(which text, pattern text, what text) RETURNS float8 LANGUAGE sql AS $$
  SELECT max(median) FROM figures WHERE section = which AND label LIKE pattern AND measure = what
$$;

-- The first or last label of a section.
CREATE FUNCTION pg_temp.label(which text, is_last boolean) RETURNS text LANGUAGE sql AS $$
  SELECT label FROM figures WHERE section = which ORDER BY CASE WHEN is_last THEN -place ELSE place END LIMIT 1
$$;

SELECT E'# Results\n\n' || :'facts' || E'\n\n' || :'options' || E'\n\n'
  'Each figure is the median of the rounds; where there are *least* and *most*, of all rounds. A ratio is that of two\n'
  'figures of one round, and the median of those. [How it is measured](../README.md).';

\ir promises.sql

-- pgflow, its peers and the floor.
WITH peers AS (
  SELECT f.section, f.place, f.label, f.median AS rate, f.least, f.most,
         pg_temp.median(f.section, f.label, 'commits') AS commits, pg_temp.median(f.section, f.label, 'wal') AS wal,
         pg_temp.ratio(f.section, f.label, 'rate', CASE f.section WHEN 'start' THEN 'start' ELSE 'chain' END, 'absurd,%', 'rate') AS absurd,
         CASE WHEN f.section <> 'start' THEN
           pg_temp.ratio(f.section, f.label, 'rate', 'jobs', 'graphile-worker, local queue%', 'rate') END AS graphile
  FROM figures f
  WHERE f.section IN ('chain', 'diamond', 'map of 1 kB', 'start', 'jobs') AND f.measure = 'rate'
)
SELECT format(E'\n## %s\n\n| | %s a second | least | most | × absurd | × graphile-worker batched | commits | bytes of WAL |\n'
              '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n%s',
              title, unit,
              string_agg(format('| %s | %s | %s | %s | %s | %s | %s | %s |', label, pg_temp.figure(rate), pg_temp.figure(least),
                                pg_temp.figure(most), pg_temp.figure(absurd), pg_temp.figure(graphile), pg_temp.figure(commits),
                                pg_temp.figure(wal)), E'\n' ORDER BY place))
FROM peers JOIN (VALUES
  (1, 'chain', 'A chain of three steps', 'steps'),
  (2, 'diamond', 'A diamond of four steps', 'steps'),
  (3, 'map of 1 kB', 'One map and a step that gets its outputs', 'steps'),
  (4, 'start', 'Starting runs of the chain', 'runs'),
  (5, 'jobs', 'Plain queues', 'jobs')) titles(n, section, title, unit) USING (section)
GROUP BY n, title, unit
ORDER BY n;

-- What one worker, or one load, gets done.
WITH rates AS (
  SELECT section, place, label, median AS rate, least, most, pg_temp.median(section, label, 'cpu') AS cpu,
         pg_temp.ratio(section, label, 'rate', section, pg_temp.label(section, false), 'rate') AS of_rate,
         pg_temp.ratio(section, label, 'cpu', section, pg_temp.label(section, false), 'cpu') AS of_cpu
  FROM figures
  WHERE section IN ('map', 'layers', 'ladder', 'runs', 'history', 'held') AND measure = 'rate'
)
SELECT format(E'\n## %s\n\n| | %s a second | least | most | ratio | µs of processor | ratio |\n'
              '| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n%s',
              title, unit,
              string_agg(format('| %s | %s | %s | %s | %s | %s | %s |', label, pg_temp.figure(rate), pg_temp.figure(least),
                                pg_temp.figure(most), pg_temp.figure(of_rate), pg_temp.figure(cpu), pg_temp.figure(of_cpu)),
                         E'\n' ORDER BY place))
FROM rates JOIN (VALUES
  (1, 'map', 'A map, by its size', 'elements'),
  (2, 'layers', 'Layers of five steps with four deps each, by the size of the graph', 'steps'),
  (3, 'ladder', 'Ladders of two steps a level with two deps each, by their height', 'steps'),
  (4, 'runs', 'Independent runs of the chain, by how many there are at a time', 'steps'),
  (5, 'history', 'The chain, by the history in the tables', 'steps'),
  (6, 'held', 'A steady load beside a transaction that is left open', 'steps')) titles(n, section, title, unit) USING (section)
GROUP BY n, title, unit
ORDER BY n;

-- A row for each load.
SELECT format(E'\n| | steps a second, every %s s |\n| --- | --- |\n%s',
              min(first), string_agg(format('| %s | %s |', label, course), E'\n' ORDER BY place))
FROM (
  SELECT measure AS label, min(place) AS place, min(label::int) AS first,
         string_agg(pg_temp.figure(median), ' · ' ORDER BY label::int) AS course
  FROM figures WHERE section = 'series' GROUP BY measure) courses
HAVING count(*) > 0;

SELECT format(E'\n## Small runs in one queue with a large one\n\n| | milliseconds | least | most | ratio |\n'
              '| --- | ---: | ---: | ---: | ---: |\n%s',
              string_agg(format('| %s | %s | %s | %s | %s |', label, pg_temp.figure(median), pg_temp.figure(least), pg_temp.figure(most),
                                pg_temp.figure(pg_temp.ratio(section, label, measure, section, pg_temp.label(section, false), measure))),
                         E'\n' ORDER BY place))
FROM figures WHERE section = 'fairness' HAVING count(*) > 0;

SELECT format(E'\n## Statements inside a completion that starts one dependent\n\n| | calls for each | plans |\n| --- | ---: | ---: |\n%s\n| %s | %s | %s |',
              string_agg(format('| %s | %s | %s |', label, pg_temp.figure(median), pg_temp.median(section, label, 'plans')),
                         E'\n' ORDER BY place),
              'in all', pg_temp.figure(pg_temp.median('statements', '%', 'statements')), pg_temp.median('statements', '%', 'plans'))
FROM figures WHERE section = 'statement' AND measure = 'calls' HAVING count(*) > 0;

SELECT format(E'\n## What a run of the chain writes\n\nAt batch 10 with 8 workers, in numbers for each run.\n\n'
              '| | commits | bytes of WAL | records | page images |\n| --- | ---: | ---: | ---: | ---: |\n%s',
              string_agg(format('| %s | %s | %s | %s | %s |', label, pg_temp.figure(median), pg_temp.figure(pg_temp.median(section, label, 'bytes')),
                                pg_temp.figure(pg_temp.median(section, label, 'records')), pg_temp.figure(pg_temp.median(section, label, 'images'))),
                         E'\n' ORDER BY place))
FROM figures WHERE section = 'wal' AND measure = 'commits' HAVING count(*) > 0;

SELECT format(E'\n| row versions | inserted | updated | of these HOT | deleted |\n| --- | ---: | ---: | ---: | ---: |\n%s',
              string_agg(format('| %s | %s | %s | %s %% | %s |', label, pg_temp.figure(pg_temp.median(section, label, 'inserted')),
                                pg_temp.figure(median), pg_temp.figure(100 * pg_temp.median(section, label, 'hot')),
                                pg_temp.figure(pg_temp.median(section, label, 'deleted'))), E'\n' ORDER BY place))
FROM figures WHERE section = 'updates' AND measure = 'each' HAVING count(*) > 0;

SELECT format(E'\n| WAL records of ten bytes a run and more | bytes | records |\n| --- | ---: | ---: |\n%s',
              string_agg(format('| %s | %s | %s |', label, pg_temp.figure(median), pg_temp.figure(pg_temp.median(section, label, 'records'))),
                         E'\n' ORDER BY median DESC))
FROM figures WHERE section = 'records' AND measure = 'bytes' HAVING count(*) > 0;

SELECT format(E'\n## How a claim of ten reads `live_tasks`\n\n| | rows of the first walk | pages | as it should be |\n| --- | ---: | ---: | --- |\n%s',
              string_agg(format('| %s | %s | %s | %s |', label, pg_temp.median(section, label, 'rows'), pg_temp.median(section, label, 'pages'),
                                CASE least WHEN 1 THEN 'yes' ELSE 'no' END), E'\n' ORDER BY place))
FROM figures WHERE section = 'plans' AND measure = 'holds' HAVING count(*) > 0;
