-- Where every run stands and what every flow is, as a user sees it.
SELECT pgflow.get_run(run_id) FROM pgflow.runs ORDER BY run_id;
SELECT pgflow.flow_graph(flow_slug, version) FROM pgflow.flow_versions ORDER BY flow_slug, version;
