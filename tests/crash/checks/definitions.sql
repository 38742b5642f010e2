-- no acknowledged definition is lost
SELECT format('flow %s version %s', flow_slug, version) FROM crash_test.definitions d
WHERE NOT EXISTS (SELECT FROM pgflow.flow_versions v WHERE v.flow_slug = d.flow_slug AND v.version = d.version);

-- Must notice:
DELETE FROM pgflow.flow_versions WHERE flow_slug = (SELECT flow_slug FROM crash_test.definitions LIMIT 1);
