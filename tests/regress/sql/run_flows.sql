\pset null <null>
call t.flow('run_flows', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}]');
-- Ids in input order.
create temp table ids as
select n, run_id
from pgflow.run_flows('run_flows', array['1', '{"x": null}', 'null', '[]', '1']::jsonb[], array['k1', null, 'k3', null, 'k5'], 2)
     with ordinality ids (run_id, n);
select n, payload, priority, status, idempotency_key from ids join pgflow.runs using (run_id) order by n;
select step_slug, status, count(*) from pgflow.step_states where flow_slug = 'run_flows' group by 1, 2 order by 1;
select step_slug, status, count(*) from pgflow.step_tasks where flow_slug = 'run_flows' group by 1, 2 order by 1;

-- Keys that are known, and one key twice in a call: the first run's id.
truncate ids;
insert into ids
select n, run_id
from pgflow.run_flows('run_flows', array['"new"', '"again"', '"twice"', '"twice"']::jsonb[], array[null, 'k1', 'k6', 'k6'])
     with ordinality ids (run_id, n);
select n, payload, count(*) over (partition by run_id) as times from ids join pgflow.runs using (run_id) order by n;
select count(*) from pgflow.runs where flow_slug = 'run_flows';
select t.work('run_flows');
select status, count(*) from pgflow.runs where flow_slug = 'run_flows' group by 1;

-- Flows that have nothing to do complete at once.
call t.flow('run_flows_map', '[{"step_slug": "m", "step_type": "map"}, {"step_slug": "n", "step_type": "map", "deps_slugs": ["m"]}]');
truncate ids;
insert into ids
select n, run_id from pgflow.run_flows('run_flows_map', array['[]', '[1]', '[]']::jsonb[]) with ordinality ids (run_id, n);
select n, status, output from ids join pgflow.runs using (run_id) order by n;
select t.work('run_flows_map');
select payload, status, output from pgflow.runs where flow_slug = 'run_flows_map' order by run_id;

-- Nothing asked, nothing done; one fault, and nothing is stored.
select count(*) from pgflow.run_flows('run_flows', '{}');
select count(*) as before from pgflow.runs \gset
call t.fails($$select pgflow.run_flows(null, '{1}')$$);
call t.fails($$select pgflow.run_flows('run_flows', null)$$);
call t.fails($$select pgflow.run_flows('run_flows_unknown', '{1}')$$);
call t.fails($$select pgflow.run_flows('run_flows_unknown', '{}')$$);
call t.fails($$select pgflow.run_flows('run_flows', '{1,2}', '{a}')$$);
call t.fails($$select pgflow.run_flows('run_flows_map', '{[],1,[]}')$$);
select count(*) - :before as new from pgflow.runs;

-- A large number of payloads in one call.
select count(distinct id) from pgflow.run_flows('run_flows', (select array_agg(to_jsonb(n)) from generate_series(1, 50000) n)) id;
select count(*), min(payload::int), max(payload::int) from pgflow.runs where flow_slug = 'run_flows' and status = 'started';
select pgflow.delete_flow('run_flows', true);
select * from pgflow.check_integrity();
