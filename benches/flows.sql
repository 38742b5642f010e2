-- The flows that are measured.

SELECT pgflow.define_flow('{"flow_slug": "chain", "steps": [
  {"step_slug": "one"},
  {"step_slug": "two", "deps_slugs": ["one"]},
  {"step_slug": "three", "deps_slugs": ["two"]}]}');

SELECT pgflow.define_flow('{"flow_slug": "map", "steps": [{"step_slug": "each", "step_type": "map"}]}');

-- Layers of five steps; each step depends on four of the layer before.
SELECT pgflow.define_flow(jsonb_build_object('flow_slug', 'dag_' || size, 'steps', (
  SELECT jsonb_agg(jsonb_build_object('step_slug', 's' || n, 'deps_slugs', (
           SELECT coalesce(jsonb_agg('s' || (n - n % 5 - 5 + (n + d) % 5)), '[]')
           FROM generate_series(0, 3) d WHERE n >= 5)))
  FROM generate_series(0, size - 1) n)))
FROM (VALUES (10), (100), (2000)) sizes(size);
