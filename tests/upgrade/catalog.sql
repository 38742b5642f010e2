-- The surface, and what it leaves out because it differs between versions of PostgreSQL or cannot be seen by users: two
-- databases of one server are compared by this.
\ir ../surface/surface.sql

\echo
\echo '# how columns are kept'
SELECT m.identity || '.' || a.attname, a.attstorage, nullif(a.attcompression, ''), nullif(a.attcollation, 0)::regcollation,
       nullif(to_jsonb(a) ->> 'attstattarget', '-1'), (SELECT string_agg(o, ', ') FROM unnest(a.attoptions) o WHERE o LIKE 'n_distinct%')
FROM member m
JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind <> 'S'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY m.identity COLLATE "C", a.attnum;

\echo
\echo '# how relations are kept'
SELECT m.identity, c.relkind, c.relpersistence, am.amname, c.relreplident, c.relrowsecurity, c.relforcerowsecurity,
       pg_get_userbyid(c.relowner), c.reltablespace, array_to_string(toast.reloptions, ', '), to_jsonb(s) - 'seqrelid'
FROM member m
JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
ORDER BY m.identity COLLATE "C";

\echo
\echo '# constraints of every kind'
SELECT coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text) || ': ' || conname, contype,
       pg_get_constraintdef(k.oid), condeferrable, condeferred, convalidated
FROM member m
JOIN pg_constraint k ON m.classid = 'pg_class'::regclass AND k.conrelid = m.objid
                     OR m.classid = 'pg_type'::regclass AND k.contypid = m.objid
ORDER BY m.identity COLLATE "C", conname COLLATE "C";

\echo
\echo '# comments on constraints, indexes and triggers'
SELECT i.identity || ':', d.description
FROM pg_description d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE i.identity ~ '\mpgflow(_locks)?\M' AND NOT EXISTS (SELECT FROM member m WHERE (m.classid, m.objid) = (d.classoid, d.objoid))
ORDER BY i.identity COLLATE "C";

\echo
\echo '# index states'
SELECT i.indexrelid::regclass::text, i.indisclustered, i.indisvalid, array_to_string(c.reloptions, ', ')
FROM member m
JOIN pg_index i ON m.classid = 'pg_class'::regclass AND i.indrelid = m.objid
JOIN pg_class c ON c.oid = i.indexrelid
ORDER BY 1;

\echo
\echo '# statistics, rules and triggers'
SELECT pg_get_statisticsobjdef(s.oid), s.stxstattarget
FROM member m JOIN pg_statistic_ext s ON m.classid = 'pg_class'::regclass AND s.stxrelid = m.objid
ORDER BY s.stxname COLLATE "C";
SELECT pg_get_ruledef(r.oid), r.ev_enabled
FROM member m JOIN pg_rewrite r ON m.classid = 'pg_class'::regclass AND r.ev_class = m.objid
ORDER BY m.identity COLLATE "C", r.rulename COLLATE "C";
SELECT m.identity, t.tgname, t.tgenabled
FROM member m JOIN pg_trigger t ON m.classid = 'pg_class'::regclass AND t.tgrelid = m.objid AND NOT t.tgisinternal
ORDER BY m.identity COLLATE "C", t.tgname COLLATE "C";

\echo
\echo '# what functions call'
SELECT m.identity, p.prokind, p.procost, p.prorows, nullif(p.prosupport, 0), p.probin, p.prosrc, pg_get_function_sqlbody(p.oid),
       pg_get_userbyid(p.proowner)
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
ORDER BY m.identity COLLATE "C";

\echo
\echo '# objects in the schemas that are not of the extension'
SELECT d.classid::regclass, pg_describe_object(d.classid, d.objid, 0)
FROM pg_depend d
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid IN ('pgflow'::regnamespace, 'pgflow_locks'::regnamespace)
  AND d.deptype = 'n'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE (e.classid, e.objid) = (d.classid, d.objid) AND e.deptype = 'e')
  AND pg_describe_object(d.classid, d.objid, 0) !~ '^(index|toast)'
ORDER BY 2;
