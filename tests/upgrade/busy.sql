-- Many tasks for the workers that go on during the update.
CREATE TABLE enough ();
SELECT pgflow.create_flow('busy');
SELECT pgflow.add_step('busy', 'first');
SELECT pgflow.add_step('busy', 'second', '{first}');
SELECT count(*) FROM pgflow.run_flows('busy', array_fill('{}'::jsonb, ARRAY[10000])), generate_series(1, 6);
