/** Documents and migrations, and that the database takes them for what they are. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { toDefinition, toSql } from '../src/index.js';
import { Flow } from '../src/index.js';
import type { FlowDocument, StepDocument } from '../src/index.js';
import { difference } from '../src/difference.js';
import { createDatabase } from './database.js';
import type { TestDatabase } from './database.js';

let database: TestDatabase;
before(async () => (database = await createDatabase('compile')));
after(() => database.drop());

const orders = new Flow<{ basket: number; gift: boolean }>({
  slug: 'orders',
  description: 'From the basket to the parcel',
  maxAttempts: 5,
  baseDelay: 1,
  maxDelay: 100,
  timeout: 30,
  runTimeout: 3600,
})
  .step({ slug: 'reserve' }, ({ run }) => [run.basket])
  .step({ slug: 'gift_wrap', dependsOn: ['reserve'], requiredInputPattern: { reserve: [1] }, forbiddenInputPattern: { reserve: [2] }, whenUnmet: 'skip-cascade' }, () => 'paper')
  .map({ slug: 'charge', dependsOn: ['reserve', 'gift_wrap'], mapOver: 'reserve', maxAttempts: 9, baseDelay: 0, timeout: 60, startDelay: 2, whenExhausted: 'skip' }, () => 1)
  .external({ slug: 'approve', dependsOn: ['charge'], target: 'approved', timeout: 86_400, whenExhausted: 'skip' })
  .step({ slug: 'ship', dependsOn: ['charge', 'approve'], queue: 'warehouse', startMode: 'manual' }, () => true)
  .output('ship');

test('the document of a flow says what was said', () => {
  assert.deepEqual(toDefinition(orders), {
    flow_slug: 'orders',
    description: 'From the basket to the parcel',
    max_attempts: 5,
    base_delay: 1,
    max_delay: 100,
    timeout: 30,
    run_timeout: 3600,
    output_step_slug: 'ship',
    steps: [
      { step_slug: 'reserve' },
      {
        step_slug: 'gift_wrap',
        deps_slugs: ['reserve'],
        required_input_pattern: { reserve: [1] },
        forbidden_input_pattern: { reserve: [2] },
        when_unmet: 'skip-cascade',
      },
      {
        step_slug: 'charge',
        deps_slugs: ['reserve', 'gift_wrap'],
        step_type: 'map',
        map_over: 'reserve',
        max_attempts: 9,
        base_delay: 0,
        timeout: 60,
        start_delay: 2,
        when_exhausted: 'skip',
      },
      { step_slug: 'approve', deps_slugs: ['charge'], executor: 'external', target: 'approved', timeout: 86_400, when_exhausted: 'skip' },
      { step_slug: 'ship', deps_slugs: ['charge', 'approve'], queue: 'warehouse', start_mode: 'manual' },
    ],
  });
});

test('a migration has a line for each step', () => {
  const digest = new Flow({ slug: 'digest', timeout: 120 })
    .step({ slug: 'fetch' }, () => ['a'])
    .map({ slug: 'summarise', dependsOn: ['fetch'] }, ({ item }) => item);
  assert.equal(
    toSql(digest),
    [
      '-- Flow digest, written by pgflow compile. Applying it again changes nothing.',
      'SELECT flow_slug, version, changed FROM pgflow.define_flow($pgflow${',
      '  "flow_slug": "digest",',
      '  "timeout": 120,',
      '  "steps": [',
      '    {"step_slug": "fetch"},',
      '    {"step_slug": "summarise", "deps_slugs": ["fetch"], "step_type": "map"}',
      '  ]',
      '}$pgflow$);',
      '',
    ].join('\n'),
  );
});

test('a migration can be applied again, and stores what the document says', async () => {
  const sql = toSql(orders);
  assert.equal(database.psql(sql), 'orders|1|t\n');
  assert.equal(database.psql(sql), 'orders|1|f\n');
  const [stored] = await database.rows("SELECT pgflow.flow_graph('orders') AS graph");
  assert.deepEqual(difference(stored.graph, toDefinition(orders)), []);
  // The document itself says the same as the migration.
  const [again] = await database.rows('SELECT changed FROM pgflow.define_flow($1::text::jsonb)', [JSON.stringify(toDefinition(orders))]);
  assert.equal(again.changed, false);
});

test('whatever a flow says arrives as it is', async () => {
  const hostile = [
    "'; DROP TABLE x; --", '$pgflow$', '$$', '$pgflow1$ $pgflow$', ':name :\'name\' :"name"', '\\gexec \\! ls', 'back\\slash',
    '"quotes"', 'new\nline\r\n\ttab', '\u0001\u007f\u0085\u2028\u2029', '\u202e right to left \u2066', '🚀 ä', '\ufeff', '%s %', '-- /* */', '${x}',
  ];
  const flow = new Flow<any>({ slug: 'hostile', description: hostile.join('|') })
    .step({ slug: 'a', requiredInputPattern: { all: hostile, ...Object.fromEntries(hostile.map((text, n) => [text, n])) } }, () => 1)
    .step({ slug: 'b', queue: 'it\'s $pgflow$ "q" ä' }, () => 1);
  const sql = toSql(flow);
  assert.ok(sql.split('\n').every((line) => !/[\p{Cc}\u2028\u2029\u202e\u2066]/u.test(line)), 'no line has a character that cannot be seen');
  assert.equal(database.psql(sql), 'hostile|1|t\n');
  assert.equal(database.psql(sql), 'hostile|1|f\n');
  const [stored] = await database.rows("SELECT pgflow.flow_graph('hostile') AS graph");
  assert.equal(stored.graph.description, hostile.join('|'));
  assert.deepEqual(stored.graph.steps[0].required_input_pattern, flow.steps[0]!.options.requiredInputPattern);
  assert.equal(stored.graph.steps[1].queue, flow.steps[1]!.queue);
});

test('a step without a target where the flow has one is stored without', async () => {
  const flow = new Flow({ slug: 'targets', executor: 'http', target: 'https://example.com/all' })
    .step({ slug: 'inherits' }, () => 1)
    .step({ slug: 'works', executor: 'worker' }, () => 1)
    .step({ slug: 'without', executor: 'worker', target: null }, () => 1)
    .timer({ slug: 'waits', startDelay: 1 });
  database.psql(toSql(flow));
  const [stored] = await database.rows("SELECT pgflow.flow_graph('targets') AS graph");
  assert.deepEqual(
    stored.graph.steps.map((step: StepDocument) => step.target),
    flow.steps.map((step) => step.target ?? null),
  );
});

// The difference is told by us and by define_flow: both must always agree.

/** Numbers that look random, and are the same each time. */
function randomly(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomDocument(pick: (below: number) => number): FlowDocument {
  const some = <T>(values: readonly T[]): T => values[pick(values.length)]!;
  const maybe = <T>(key: string, values: readonly T[]) => (pick(4) === 0 ? { [key]: some(values) } : {});
  const document: FlowDocument = {
    flow_slug: 'random',
    ...maybe('description', ['one', 'two']),
    ...maybe('max_attempts', [3, 4]),
    ...maybe('base_delay', [5, 0]),
    ...maybe('max_delay', [3600, 10]),
    ...maybe('timeout', [60, 61]),
    ...maybe('run_timeout', [60]),
    ...maybe('executor', ['worker', 'external']),
    ...maybe('target', ['t']),
    steps: [],
  };
  for (let n = 0; n < 1 + pick(3); n++) {
    const deps = document.steps.map(({ step_slug }) => step_slug).filter(() => pick(2) === 0);
    const map = pick(3) === 0;
    document.steps.push({
      step_slug: `s${n}`,
      ...(deps.length > 0 || pick(2) === 0 ? { deps_slugs: pick(2) === 0 ? deps : deps.reverse() } : {}),
      ...(map ? { step_type: 'map' as const } : {}),
      ...(map && (deps.length > 1 || (deps.length === 1 && pick(2) === 0)) ? { map_over: some(deps) } : {}),
      ...maybe('executor', ['worker', 'external']),
      ...maybe('target', ['t', 'u', null]),
      ...maybe('queue', ['random', 'other']),
      ...maybe('start_mode', ['auto', 'manual']),
      ...maybe('max_attempts', [3, 9]),
      ...maybe('start_delay', [0, 1]),
      ...maybe('required_input_pattern', [{}, { a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 }, { a: 1 }]),
      ...maybe('when_unmet', ['skip', 'fail', 'skip-cascade']),
      ...maybe('when_exhausted', ['fail', 'skip']),
    });
  }
  return document;
}

test('the difference that is told is the one that define_flow makes', async () => {
  const pick = randomly(7);
  let same = 0;
  let other = 0;
  for (let round = 0; round < 400; round++) {
    const before = randomDocument(pick);
    // Half of the time a document that differs little or not at all.
    const after = structuredClone(pick(2) === 0 ? randomDocument(pick) : before);
    if (pick(3) === 0) after.steps.reverse();
    if (pick(3) === 0) Object.assign(after.steps[0]!, { timeout: 60 + pick(2) });
    await database.rows('SELECT pgflow.define_flow($1)', [before]);
    const [stored] = await database.rows("SELECT pgflow.flow_graph('random') AS graph");
    const changes = difference(stored.graph, after);
    const [{ changed }] = await database.rows('SELECT changed FROM pgflow.define_flow($1)', [after]);
    assert.equal(changes.length > 0, changed, JSON.stringify({ before, after, changes }));
    // And once it is made, there is none.
    const [now] = await database.rows("SELECT pgflow.flow_graph('random') AS graph");
    assert.deepEqual(difference(now.graph, after), []);
    if (changed) other += 1;
    else same += 1;
  }
  assert.ok(same > 50 && other > 50, `${same} ${other}`);
});

test('a difference names what is another, new or gone', () => {
  const stored = {
    flow_slug: 'f', version: 1, max_attempts: 3, base_delay: 5, max_delay: 3600, timeout: 60, executor: 'worker',
    steps: [
      { step_slug: 'a', deps_slugs: [], step_type: 'single', executor: 'worker', queue: 'f', start_mode: 'auto', when_unmet: 'skip', when_exhausted: 'fail', timeout: 9 },
      { step_slug: 'gone', deps_slugs: ['a'], step_type: 'map', map_over: 'a', executor: 'worker', queue: 'q', start_mode: 'auto', when_unmet: 'skip', when_exhausted: 'fail' },
    ],
  };
  assert.deepEqual(difference(stored, { flow_slug: 'f', max_attempts: 4, steps: [{ step_slug: 'a' }, { step_slug: 'b', deps_slugs: ['a'] }] }), [
    { field: 'max_attempts', from: 3, to: 4 },
    { step_slug: 'a', field: 'timeout', from: 9, to: null },
    { step_slug: 'b', from: null, to: { step_slug: 'b', deps_slugs: ['a'] } },
    { step_slug: 'gone', from: { step_slug: 'gone', deps_slugs: ['a'], step_type: 'map', map_over: 'a', queue: 'q' }, to: null },
  ]);
});
