import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flow, FlowDefinitionError, isFlow, toDefinition, type } from '../src/index.js';

/** What a program that is not type-checked may do. */
const any = <T>(value: T): any => value;

/** The problems that a faulty flow is refused with. */
function problems(make: () => unknown): readonly string[] {
  try {
    make();
  } catch (error) {
    assert.ok(error instanceof FlowDefinitionError, String(error));
    return error.problems;
  }
  throw new Error('nothing was refused');
}

const base = new Flow<{ n: number; tags: string[] }>({ slug: 'orders', maxAttempts: 5 })
  .step({ slug: 'load' }, ({ run }) => run.n)
  .step({ slug: 'list', dependsOn: ['load'] }, ({ run }) => run.tags);

test('a flow is data: its options and its steps', () => {
  const flow = base.map({ slug: 'each', dependsOn: ['list'], queue: 'slow', whenExhausted: 'skip', requiredInputPattern: { list: ['a'] } }, ({ item }) => item);
  assert.equal(flow.slug, 'orders');
  assert.deepEqual(flow.options, { maxAttempts: 5 });
  assert.deepEqual(flow.steps.map(({ slug }) => slug), ['load', 'list', 'each']);
  const { handler, ...each } = flow.steps[2]!;
  assert.deepEqual(each, {
    slug: 'each',
    type: 'map',
    executor: 'worker',
    dependsOn: ['list'],
    queue: 'slow',
    options: { whenExhausted: 'skip', requiredInputPattern: { list: ['a'] } },
  });
  assert.equal(handler?.({ item: 'x', index: 0 }, any({})), 'x');
});

test('a flow is never changed: each step makes another one', () => {
  const one = base.step({ slug: 'a' }, () => 1);
  const other = base.step({ slug: 'a' }, () => 'another');
  assert.equal(base.steps.length, 2);
  assert.notEqual(one.steps[2], other.steps[2]);
  assert.equal(one.steps[0], base.steps[0]);
  const { requiredInputPattern } = base.step({ slug: 'p', requiredInputPattern: { n: 1 } }, () => 1).steps[2]!.options;
  for (const frozen of [base, base.options, base.steps, base.steps[0], base.steps[1]!.dependsOn, base.steps[0]!.options, requiredInputPattern]) {
    assert.ok(Object.isFrozen(frozen));
  }
  // Nor by who keeps what was given.
  const dependsOn: ('load' | 'list')[] = ['load'];
  const flow = base.step({ slug: 'a', dependsOn }, () => 1);
  dependsOn.push('list');
  assert.deepEqual(flow.steps[2]!.dependsOn, ['load']);
});

test('executor and target of the flow are the defaults of its steps', () => {
  const url = 'https://example.com/functions/x';
  const flow = new Flow({ slug: 'served', executor: 'http', target: url })
    .step({ slug: 'inherits' }, () => 1)
    .step({ slug: 'own', target: 'https://example.com/own' }, () => 1)
    .sql({ slug: 'other', target: 'public.f' })
    .external({ slug: 'waits' })
    .step({ slug: 'works', executor: 'worker' }, () => 1)
    .step({ slug: 'works_without', executor: 'worker', target: null }, () => 1);
  assert.deepEqual(
    flow.steps.map(({ executor, target }) => [executor, target]),
    [['http', url], ['http', 'https://example.com/own'], ['sql', 'public.f'], ['external', undefined], ['worker', url], ['worker', undefined]],
  );
  // In the document stands what was said, and no more.
  assert.deepEqual(toDefinition(flow), {
    flow_slug: 'served',
    executor: 'http',
    target: url,
    steps: [
      { step_slug: 'inherits' },
      { step_slug: 'own', target: 'https://example.com/own' },
      { step_slug: 'other', executor: 'sql', target: 'public.f' },
      { step_slug: 'waits', executor: 'external' },
      { step_slug: 'works', executor: 'worker' },
      { step_slug: 'works_without', executor: 'worker', target: null },
    ],
  });
});

test('conveniences are steps with an executor', () => {
  const child = new Flow<{ run: unknown & any }>({ slug: 'child' });
  const flow = new Flow<any>({ slug: 'f' })
    .sql({ slug: 'a', target: 'public.a', output: type<number>() })
    .http({ slug: 'b', target: 'https://example.com/' })
    .external({ slug: 'c', target: 'approved' })
    .timer({ slug: 'd', dependsOn: ['a'], target: '/a/at' })
    .childFlow({ slug: 'e', target: child })
    .childFlow({ slug: 'f', target: 'other' });
  assert.deepEqual(flow.steps.map(({ executor, target, type }) => [executor, target, type]), [
    ['sql', 'public.a', 'single'], ['http', 'https://example.com/', 'single'], ['external', 'approved', 'single'],
    ['timer', '/a/at', 'single'], ['flow', 'child', 'single'], ['flow', 'other', 'single'],
  ]);
});

test('flows are known, also those of another copy of the package', () => {
  assert.ok(isFlow(base));
  assert.ok(isFlow({ [Symbol.for('pgflow.flow')]: true }));
  assert.ok(!isFlow({ slug: 'x', steps: [] }) && !isFlow(null) && !isFlow('x'));
});

test('what is wrong is said where it is said, before anything reaches a database', () => {
  const cases: [() => unknown, RegExp][] = [
    [() => new Flow(any(undefined)), /takes an object with a slug/],
    [() => new Flow(any({})), /slug: missing/],
    [() => new Flow({ slug: any('a-b') }), /"a-b" is not a slug/],
    [() => new Flow({ slug: 'x'.repeat(129) }), /is not a slug/],
    [() => new Flow({ slug: 'run' as string }), /"run" is reserved/],
    [() => new Flow({ slug: 'f', maxAttempts: 0 }), /maxAttempts: 0 is less than 1/],
    [() => new Flow({ slug: 'f', baseDelay: 1.5 }), /baseDelay: 1.5 is not a whole number/],
    [() => new Flow({ slug: 'f', timeout: 2 ** 31 }), /timeout: 2147483648 is more than 1581120000/],
    [() => new Flow({ slug: 'f', executor: any('magic') }), /executor: "magic" is none of "worker", "sql"/],
    [() => new Flow({ slug: 'f', description: 'a\0' }), /description: PostgreSQL cannot store/],
    [() => new Flow(any({ slug: 'f', max_attempts: 3 })), /max_attempts: unknown option of a flow/],
    [() => base.step(any(null)), /takes an object/],
    [() => base.step(any({})), /slug: missing/],
    [() => base.step(any({ slug: 'load' })), /the flow has a step "load" already/],
    [() => base.step(any({ slug: 'c', dependsOn: ['laod'] })), /unknown dep "laod"; the steps so far are "load", "list"/],
    [() => base.step(any({ slug: 'c', dependsOn: ['c'] })), /unknown dep "c"/],
    [() => base.step(any({ slug: 'c', dependsOn: ['load', 'load'] })), /duplicate dep "load"/],
    [() => base.step(any({ slug: 'c', dependsOn: 'load' })), /dependsOn: not an array/],
    [() => base.step(any({ slug: 'c', dependOn: ['load'] })), /dependOn: unknown option of a step/],
    [() => base.step(any({ slug: 'c', whenUnmet: 'explode' })), /whenUnmet: "explode" is none of/],
    [() => base.step(any({ slug: 'c', startMode: 'late' })), /startMode/],
    [() => base.step(any({ slug: 'c', startDelay: -1 })), /startDelay: -1 is less than 0/],
    [() => base.step(any({ slug: 'c', requiredInputPattern: [1] })), /requiredInputPattern: not an object/],
    [() => base.step(any({ slug: 'c', forbiddenInputPattern: { at: new Date() } })), /\$\.at: an instance of Date/],
    [() => base.step(any({ slug: 'c', queue: '' })), /queue: "" is not the name of a queue/],
    [() => base.step(any({ slug: 'c', queue: 'a\nb' })), /queue: "a\\nb" is not/],
    [() => base.step({ slug: 'c' }, any('handler')), /the handler is not a function/],
    [() => base.step(any({ slug: 'c', executor: 'sql', target: 'public.f' }), any(() => 1)), /executor "sql" has no handler/],
    [() => base.step({ slug: 'c', executor: 'sql' }), /target: missing; executor "sql" calls a function/],
    [() => base.sql({ slug: 'c', target: 'f' }), /"f" is not the name of a function/],
    [() => base.http({ slug: 'c' }), /target: missing/],
    [() => base.http({ slug: 'c', target: 'ftp://x' }), /scheme "ftp" is neither/],
    [() => base.http({ slug: 'c', target: 'https://a:secret@x/' }), /a user name or a password/],
    [() => base.http({ slug: 'c', target: '/x' }), /not a URL/],
    [() => base.childFlow({ slug: 'c', target: 'a-b' }), /"a-b" is not a slug/],
    [() => base.step(any({ slug: 'c', executor: 'http', target: base })), /a flow is the target of executor "flow"/],
    [() => base.external({ slug: 'c', target: '' }), /"" is not the name of an event/],
    [() => base.timer({ slug: 'c', target: 'run' }), /no JSON pointer/],
    [() => base.timer({ slug: 'c', target: '/list/at' }), /has no member "list"; it has "run"/],
    [() => base.map(any({ slug: 'c', dependsOn: ['load', 'list'] })), /mapOver: missing/],
    [() => base.map(any({ slug: 'c', dependsOn: ['list'], mapOver: 'load' })), /"load" is not a dep/],
    [() => base.step(any({ slug: 'c', dependsOn: ['list'], mapOver: 'list' })), /the step is no map/],
    [() => base.output(any('z')), /there is no step "z"/],
    [() => toDefinition(new Flow({ slug: 'f', outputStepSlug: 'z' })), /there is no step "z" to be the output; the flow has no steps yet/],
  ];
  for (const [make, said] of cases) assert.match(problems(make).join('\n'), said, String(make));
});

test('all that is wrong with a step is said at once, with its name', () => {
  const make = () => base.step(any({ slug: 'c', dependsOn: ['a', 'b'], timeout: 0 }));
  assert.equal(problems(make).length, 3);
  assert.throws(make, (error: FlowDefinitionError) =>
    error instanceof TypeError && error.flowSlug === 'orders' && error.stepSlug === 'c' && /^flow "orders", step "c":\n  - timeout/.test(error.message));
  // A URL may have a token in it.
  assert.ok(!problems(() => base.http({ slug: 'c', target: 'x://h?token=secret' })).join().includes('secret'));
});

test('a flow of thousands of steps is built in a moment', () => {
  let flow: any = new Flow({ slug: 'long' });
  const started = performance.now();
  for (let n = 0; n < 2_000; n++) flow = flow.step({ slug: `s${n}`, dependsOn: n === 0 ? [] : [`s${n - 1}`] });
  assert.equal(toDefinition(flow).steps.length, 2_000);
  assert.ok(performance.now() - started < 5_000);
});
