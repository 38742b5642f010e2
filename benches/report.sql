-- Reads measurements (section, place, label, value) from standard input, prints them as tables in Markdown.
-- Variable: facts, a line on the machine.

CREATE TEMP TABLE measurements (section int, place int, label text, value float8);
\copy measurements FROM pstdin

CREATE FUNCTION pg_temp.shown(value float8) RETURNS text LANGUAGE sql
  RETURN to_char(value, CASE WHEN value < 100 THEN 'FM990.0' ELSE 'FM999,999,990' END);

SELECT E'# Results\n\n' || :'facts' || E'\n\n' || format(
  'Each figure is the median of %s interleaved rounds, with the least and the most. The ratio is that of the medians to '
  'the first line of the table. [How it is measured](../README.md).', max(n))
FROM (SELECT count(*) AS n FROM measurements GROUP BY section, place) rounds;

WITH figures AS (
  SELECT section, place, label, min(value) AS least, max(value) AS most,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median
  FROM measurements GROUP BY section, place, label
), lines AS (
  SELECT section, place,
         format('| %s | %s | %s | %s | %s |', label, pg_temp.shown(median), pg_temp.shown(least), pg_temp.shown(most),
                round((median / first_value(median) OVER (PARTITION BY section ORDER BY place))::numeric, 2)) AS line
  FROM figures
)
SELECT format(E'\n## %s\n\n| | %s | least | most | ratio |\n| --- | ---: | ---: | ---: | ---: |\n%s',
              title, unit, string_agg(line, E'\n' ORDER BY place))
FROM (VALUES
  (1, 'A chain of three steps, one worker', 'tasks per second'),
  (2, 'Starting runs of it, one caller', 'runs per second'),
  (3, 'A map, by its size', 'µs per element'),
  (4, 'A graph of layers, by its size', 'µs per step'),
  (5, 'The chain at batch 10, by the history in the tables', 'tasks per second')) sections(section, title, unit)
JOIN lines USING (section)
GROUP BY section, title, unit
ORDER BY section;
