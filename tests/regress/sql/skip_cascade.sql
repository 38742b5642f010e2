\pset null <null>
-- Everything downstream is skipped, whatever else it waits for; nothing else is.
call t.flow('cascade', '[
  {"step_slug": "a", "required_input_pattern": {"x": 1}, "when_unmet": "skip-cascade"},
  {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "c", "deps_slugs": ["a"]}, {"step_slug": "d", "deps_slugs": ["b", "c"]},
  {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}, {"step_slug": "manual", "deps_slugs": ["m"], "start_mode": "manual"},
  {"step_slug": "other"}, {"step_slug": "join", "deps_slugs": ["other", "d"]}, {"step_slug": "after", "deps_slugs": ["other"]}]');
select pgflow.run_flow('cascade') as run \gset
select step_slug, status, skip_reason from t.steps(:'run');
select step_slug, status, remaining_tasks from t.counts(:'run') where status = 'skipped';
select step_slug from t.claim('cascade');
select * from t.complete(:'run', 'other', '1');
select step_slug from t.claim('cascade');
select * from t.complete(:'run', 'after', '2');
select * from t.run(:'run');
select * from t.tasks(:'run');

-- In the middle of a run, at several steps at once.
call t.flow('cascade_later', '[{"step_slug": "a"},
  {"step_slug": "b", "deps_slugs": ["a"], "required_input_pattern": {"a": 1}, "when_unmet": "skip-cascade"},
  {"step_slug": "c", "deps_slugs": ["a"], "required_input_pattern": {"a": 1}, "when_unmet": "skip-cascade"},
  {"step_slug": "d", "deps_slugs": ["b", "c"]}, {"step_slug": "e", "deps_slugs": ["d", "c"]}]');
select pgflow.run_flow('cascade_later') as run \gset
select step_slug from t.claim('cascade_later');
select * from t.complete(:'run', 'a', '2');
select * from t.steps(:'run');
select * from t.run(:'run');

-- A plain skip resolves a dep, a cascade in the same call takes its dependents along.
call t.flow('cascade_mixed', '[
  {"step_slug": "plain", "required_input_pattern": {"x": 1}},
  {"step_slug": "hard", "required_input_pattern": {"x": 1}, "when_unmet": "skip-cascade"},
  {"step_slug": "both", "deps_slugs": ["plain", "hard"]}, {"step_slug": "one", "deps_slugs": ["plain"]}]');
select pgflow.run_flow('cascade_mixed') as run \gset
select step_slug, status, skip_reason from t.steps(:'run');

-- Everything skipped: completed, without an output.
call t.flow('cascade_all', '[{"step_slug": "a", "required_input_pattern": {"x": 1}, "when_unmet": "skip-cascade"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
select pgflow.run_flow('cascade_all') as run \gset
select * from t.run(:'run');
select * from pgflow.check_integrity();
