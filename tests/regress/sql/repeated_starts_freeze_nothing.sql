-- A call that starts nothing checks and freezes nothing: a repeated idempotency key, or no payloads at all.
call t.flow('again', '[{"step_slug": "a"}]');
select pgflow.run_flow('again', idempotency_key => 'k') as run \gset
call t.flow('again', '[{"step_slug": "a"}, {"step_slug": "m", "step_type": "map"}]');
select pgflow.run_flow('again', idempotency_key => 'k') = :'run' as the_same;
select run_flows = :'run' as the_same from pgflow.run_flows('again', array['1', '2']::jsonb[], array['k', 'k']);
select count(*) from pgflow.run_flows('again', '{}');
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'again' order by 1;
-- What does start is checked, as ever.
call t.fails($$select pgflow.run_flow('again', idempotency_key => 'other')$$);
call t.fails($$select pgflow.run_flows('again', array['1', '2']::jsonb[], array['k', null])$$);
select count(*) from pgflow.run_flows('again', array['1', '[1]']::jsonb[], array['k', 'new']);
select version, frozen_at is not null as frozen from pgflow.flow_versions where flow_slug = 'again' order by 1;
