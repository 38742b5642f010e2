-- Reads measurements (section, place, label, things per second, microseconds of processor time for each) from standard
-- input and prints them as tables in Markdown. Variable: facts, a line on the machine.

CREATE TEMP TABLE measurements (section int, place int, label text, rate float8, cpu float8);
\copy measurements FROM pstdin

SELECT E'# Results\n\n' || :'facts' || E'\n\n' || format(
  E'Each rate is the median of %s interleaved rounds, with the least and the most. Processor time is that of the server,\n'
  'the median too. Ratios are to the first line of the table. [How it is measured](../README.md).', max(n))
FROM (SELECT count(*) AS n FROM measurements GROUP BY section, place) rounds;

WITH figures AS (
  SELECT section, place, label, min(rate) AS least, max(rate) AS most,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY rate) AS rate,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu
  FROM measurements GROUP BY section, place, label
), lines AS (
  SELECT section, place,
         format('| %s | %s | %s | %s | %s | %s | %s |', label,
                to_char(rate, 'FM999,999,990'), to_char(least, 'FM999,999,990'), to_char(most, 'FM999,999,990'),
                to_char(rate / first_value(rate) OVER first, 'FM990.00'),
                to_char(cpu, 'FM999,990'), to_char(cpu / first_value(cpu) OVER first, 'FM990.00')) AS line
  FROM figures WINDOW first AS (PARTITION BY section ORDER BY place)
)
SELECT format(E'\n## %s\n\n| | %s a second | least | most | ratio | µs of processor | ratio |\n'
              '| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n%s',
              title, unit, string_agg(line, E'\n' ORDER BY place))
FROM (VALUES
  (1, 'A chain of three steps, one worker', 'tasks'),
  (2, 'Starting runs of it, one caller', 'runs'),
  (3, 'A map, by its size', 'elements'),
  (4, 'A graph of layers, by its size', 'steps'),
  (5, 'The chain at batch 10, by the history in the tables', 'tasks')) sections(section, title, unit)
JOIN lines USING (section)
GROUP BY section, title, unit
ORDER BY section;
