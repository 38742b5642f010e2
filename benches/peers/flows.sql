-- The flows that pgflow runs beside its peers.

SELECT pgflow.define_flow('{"flow_slug": "chain", "steps": [
  {"step_slug": "one"},
  {"step_slug": "two", "deps_slugs": ["one"]},
  {"step_slug": "three", "deps_slugs": ["two"]}]}');

SELECT pgflow.define_flow('{"flow_slug": "diamond", "steps": [
  {"step_slug": "top"},
  {"step_slug": "left", "deps_slugs": ["top"]},
  {"step_slug": "right", "deps_slugs": ["top"]},
  {"step_slug": "bottom", "deps_slugs": ["left", "right"]}]}');

SELECT pgflow.define_flow('{"flow_slug": "map", "steps": [
  {"step_slug": "each", "step_type": "map"},
  {"step_slug": "gather", "deps_slugs": ["each"]}]}');
