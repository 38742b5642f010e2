-- The flows that are measured.

SELECT pgflow.define_flow('{"flow_slug": "chain", "steps": [
  {"step_slug": "one"},
  {"step_slug": "two", "deps_slugs": ["one"]},
  {"step_slug": "three", "deps_slugs": ["two"]}]}');

SELECT pgflow.define_flow('{"flow_slug": "map", "steps": [{"step_slug": "each", "step_type": "map"}]}');

-- A map in the queue of the chain.
SELECT pgflow.define_flow('{"flow_slug": "crowd", "steps": [{"step_slug": "each", "step_type": "map", "queue": "chain"}]}');

-- A task that nobody claims: while there is one, workers that find nothing wait.
SELECT pgflow.define_flow('{"flow_slug": "gate", "steps": [{"step_slug": "shut"}]}');

-- Layers of five steps; each step depends on four of the layer before.
SELECT pgflow.define_flow(jsonb_build_object('flow_slug', 'layers_' || size, 'steps', (
  SELECT jsonb_agg(jsonb_build_object('step_slug', 's' || n, 'deps_slugs', (
           SELECT coalesce(jsonb_agg('s' || (n - n % 5 - 5 + (n + d) % 5)), '[]')
           FROM generate_series(0, 3) d WHERE n >= 5)))
  FROM generate_series(0, size - 1) n)))
FROM (VALUES (10), (100), (2000)) sizes(size);

-- Ladders: two steps a level, each of which depends on both of the level before, so that paths double with each level.
SELECT pgflow.define_flow(jsonb_build_object('flow_slug', 'ladder_' || levels, 'steps', (
  SELECT jsonb_agg(jsonb_build_object('step_slug', side || n, 'deps_slugs',
           CASE WHEN n = 0 THEN '[]' ELSE jsonb_build_array('left' || n - 1, 'right' || n - 1) END))
  FROM generate_series(0, levels - 1) n, (VALUES ('left'), ('right')) sides(side))))
FROM (VALUES (30), (300)) sizes(levels);
