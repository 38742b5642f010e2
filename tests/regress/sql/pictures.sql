-- Flows and runs as text for Mermaid and as SVG.
call t.flow('picture', '[
  {"step_slug": "end"},
  {"step_slug": "resize", "deps_slugs": ["end"], "step_type": "map"},
  {"step_slug": "cool", "deps_slugs": ["end"], "executor": "timer", "start_delay": 3600},
  {"step_slug": "call", "deps_slugs": ["resize"], "executor": "http", "target": "http://127.0.0.1/a?b=1&c=(2)"},
  {"step_slug": "approve", "deps_slugs": ["resize", "cool"], "executor": "external", "target": "\"]; <b>&"},
  {"step_slug": "child", "deps_slugs": ["approve"], "executor": "flow", "target": "picture", "start_mode": "manual"},
  {"step_slug": "maybe", "executor": "external", "required_input_pattern": {"a": 1}}]');

-- Without what differs from time to time.
create function t.mermaid(run uuid) returns text language sql as $$
  select regexp_replace(t.plain(pgflow.run_mermaid(run)), '(< )?[0-9.]+ (ms|s)\M', '<time>', 'g')
$$;
-- All that a picture says: titles, the description, and texts, with what XML escapes.
create function t.said(svg text) returns setof text language sql as $$
  select regexp_replace(regexp_replace(regexp_replace(regexp_replace(t.plain(m[2]), '&#10;.*', '…'), '(&lt; )?[0-9.]+ (ms|s)\M', '<time>', 'g'), '\n', ' '),
    -- How much of an error fits into a card depends on the time above it.
    '\[\w*…', '[3…')
  from regexp_matches(svg, '<(title|text|desc)[^>]*>([^<]*)<', 'g') m
$$;

select pgflow.flow_mermaid('picture');
select t.said(pgflow.flow_svg('picture'));
-- An explicit null is the latest version.
select pgflow.flow_mermaid('picture', null) = pgflow.flow_mermaid('picture', 1) as is_latest,
       pgflow.flow_svg('picture', null) = pgflow.flow_svg('picture') as is_same;

select pgflow.run_flow('picture') as run \gset
select step_slug from t.claim('picture');
select accepted from t.complete(:'run', 'end', '[1, 2, 3]');
select step_slug, task_index from t.claim('picture', 2);
select accepted from t.complete(:'run', 'resize', '10');
select accepted from t.fail(:'run', 'resize', 'no', 1, retry_after => 0);
select t.mermaid(:'run');
select t.said(pgflow.run_svg(:'run'));

-- What users write stays text.
select step_slug, task_index, attempt from t.claim('picture');
select accepted from t.fail(:'run', 'resize', E'</text><script>alert("1")</script>\n\x1b[31m & ''so'' on', 1, retryable => false);
select t.mermaid(:'run');
select t.said(pgflow.run_svg(:'run'));
select svg !~ '<script' as has_no_script, svg !~ '[\x01-\x09\x0b-\x1f]' as has_no_control_characters,
       svg !~ '(href|src|url\(|@import)[^#]*https?:' as asks_nobody
from (select pgflow.run_svg(:'run')::text as svg) pictures;

-- A gateway goes by the type, and by what may be called with GET.
select p.oid::regprocedure as function, p.prorettype::regtype as returns, p.provolatile as volatile, p.proretset as is_set
from pg_proc p
where p.pronamespace = 'pgflow'::regnamespace and p.proname ~ '_(svg|mermaid)$'
order by p.proname;
begin read only;
select length(pgflow.run_svg(:'run')) > 0 as drawn;
commit;

-- As large as a flow may be: a mark for each step.
select changed from pgflow.define_flow(jsonb_build_object('flow_slug', 'picture_large', 'steps',
  (select jsonb_agg(jsonb_build_object('step_slug', 's' || n, 'deps_slugs',
     (select coalesce(jsonb_agg('s' || d), '[]') from generate_series(greatest(n - 10, 1), n - 1) d)))
   from generate_series(1, 3000) n)));
select said from t.said(pgflow.flow_svg('picture_large')) said where said <> '';
select count(*) as lines from regexp_matches(pgflow.flow_mermaid('picture_large'), ' --> ', 'g');

-- Values are not drawn, however large they are.
call t.flow('picture_values', '[{"step_slug": "a", "executor": "external"}]');
select pgflow.run_flow('picture_values') as run \gset
select accepted from pgflow.complete_step(:'run', 'a', to_jsonb(repeat('x', 10000000)));
select length(pgflow.run_svg(:'run')) < 10000 as is_small;

call t.fails($$select pgflow.flow_mermaid(null)$$);
call t.fails($$select pgflow.flow_svg(null)$$);
call t.fails($$select pgflow.run_mermaid(null)$$);
call t.fails($$select pgflow.run_svg(null)$$);
call t.fails($$select pgflow.flow_mermaid('picture_unknown')$$);
call t.fails($$select pgflow.flow_svg('picture', 3)$$);
call t.fails($$select pgflow.run_mermaid('00000000-0000-7000-8000-000000000000')$$);
call t.fails($$select pgflow.run_svg('00000000-0000-7000-8000-000000000000')$$);
