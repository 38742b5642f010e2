-- Prints, as lines of measurements, the WAL between two positions by relation and kind of record, for each run.
-- Variables: runs, from, until.

WITH records AS (
  SELECT resource_manager || ' ' || record_type AS kind, record_length,
         (regexp_match(block_ref, 'rel \d+/\d+/(\d+)'))[1]::oid AS filenode
  FROM pg_get_wal_records_info(:'from', :'until')
), relations AS (
  SELECT r.kind, r.record_length, coalesce(t.relname, c.relname) AS relation, c.relkind = 'i' AS is_index
  FROM records r
  LEFT JOIN pg_class c ON c.oid = pg_filenode_relation(0, r.filenode)
  LEFT JOIN pg_index i ON i.indexrelid = c.oid
  LEFT JOIN pg_class t ON t.oid = i.indrelid
), sums AS (
  SELECT CASE WHEN relation IS NULL THEN kind
              WHEN is_index THEN relation || ', indexes: ' || kind
              ELSE relation || ': ' || kind END AS label,
         sum(record_length) / :runs::float8 AS bytes, count(*) / :runs::float8 AS records
  FROM relations GROUP BY 1
)
SELECT 'records', label, measure, value
FROM sums, LATERAL (VALUES ('bytes', bytes), ('records', records)) v(measure, value)
WHERE bytes >= 10
ORDER BY bytes DESC, label, measure;
