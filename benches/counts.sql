-- Prints, as lines of measurements, the statements that ran inside the engine since the last reset: how many there were
-- for each completion, and how often the most planned of them was planned. Variable: completions.

-- Checks of foreign keys are those of PostgreSQL, not of the engine. A statement is named by the first sentence of the
-- comment that it begins with.
CREATE TEMP VIEW inside AS
SELECT (regexp_match(regexp_replace(query, '\n-- ', ' ', 'g'), '^(?:-- )?([^.:\n]*)'))[1] AS name,
       sum(calls)::float8 AS calls, sum(plans)::float8 AS plans
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND NOT toplevel AND query !~ 'FOR KEY SHARE OF x$'
GROUP BY query;

SELECT 'statements', 'one completion', measure, value
FROM (SELECT sum(calls) / :completions AS statements, max(plans) AS plans FROM inside) f,
     LATERAL (VALUES ('statements', statements), ('plans', plans)) v(measure, value);

SELECT 'statement', name, measure, value
FROM inside, LATERAL (VALUES ('calls', calls / :completions), ('plans', plans)) v(measure, value)
ORDER BY calls DESC, name, measure;
