import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { Flow, toDefinition, type } from '../src/index.js';
import type { AnyFlow } from '../src/index.js';
import {
  CallError, LeaseLostError, NonRetryableError, RetryAfterError, TaskTimeoutError, WorkerStoppedError, createWorker,
} from '../src/worker.js';
import type { StepContext, Worker, WorkerOptions } from '../src/worker.js';
import { createDatabase, eventually } from './database.js';
import type { TestDatabase } from './database.js';

let db: TestDatabase;
before(async () => {
  db = await createDatabase('worker');
});
after(async () => {
  await Promise.all(running.map((worker) => worker.stop({ timeout: 0 })));
  await db.drop();
});

const running: Worker[] = [];
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function define(flow: AnyFlow): Promise<void> {
  await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
}

/** A worker that is stopped when the tests are over; it says nothing of what tests do on purpose. */
async function work(flows: AnyFlow[], options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const worker = createWorker({ connection: db.url, flows, logger: false, ...options });
  running.push(worker);
  await worker.start();
  return worker;
}

async function run(flow: AnyFlow, payload: unknown = {}): Promise<string> {
  const [row] = await db.rows('select pgflow.run_flow($1, $2::jsonb) as id', [flow.slug, JSON.stringify(payload)]);
  return row.id;
}

interface Ended {
  status: string;
  output: any;
  error_message: string | null;
}

async function ended(runId: string, milliseconds = 20_000): Promise<Ended> {
  const [row] = await eventually(
    () => db.rows<Ended>('select status, output, error_message from pgflow.runs where run_id = $1', [runId]),
    ([found]) => found !== undefined && !['pending', 'started'].includes(found.status),
    milliseconds,
  );
  return row!;
}

async function completes(runId: string): Promise<any> {
  const { status, output, error_message } = await ended(runId);
  assert.equal(status, 'completed', error_message ?? '');
  return output;
}

/** The attempts of a run, in order. */
async function attempts(runId: string): Promise<{ attempt: number; status: string; error_message: string | null }[]> {
  return db.rows(
    `select attempt, status, error_message from pgflow.step_tasks where run_id = $1
     order by step_slug, task_index, attempt`,
    [runId],
  );
}

test('a flow is worked to its end: chain, map and join', async () => {
  const flow = new Flow({ slug: 'basics', input: type<{ names: string[] }>() })
    .step({ slug: 'list' }, ({ run }) => run.names)
    .map({ slug: 'greet', dependsOn: ['list'] }, async ({ item, index }) => `${index}: hello ${item}`)
    .step({ slug: 'join', dependsOn: ['greet', 'list'] }, ({ greet, list }) => ({ text: greet.join(', '), count: list.length }));
  await define(flow);
  const worker = await work([flow]);
  assert.deepEqual(await completes(await run(flow, { names: ['ann', 'bob'] })), { join: { text: '0: hello ann, 1: hello bob', count: 2 } });
  await worker.stop();
});

test('a handler is told about its task', async () => {
  const contexts: StepContext[] = [];
  const flow = new Flow({ slug: 'told', input: type<number[]>() }).map({ slug: 'one' }, ({ item }, context) => {
    contexts.push(context);
    return item;
  });
  await define(flow);
  const worker = await work([flow]);
  const runId = await run(flow, [7, 8]);
  assert.deepEqual(await completes(runId), { one: [7, 8] });
  await worker.stop();
  const context = contexts.find(({ taskIndex }) => taskIndex === 1)!;
  assert.equal(context.runId, runId);
  assert.equal(context.flowSlug, 'told');
  assert.equal(context.stepSlug, 'one');
  assert.equal(context.attempt, 1);
  assert.ok(Number.isSafeInteger(context.lease));
  assert.equal(context.idempotencyKey, `${runId}/one/1`);
  assert.match(context.traceparent, new RegExp(`^00-${runId.replaceAll('-', '')}-[0-9a-f]{16}-01$`));
  assert.equal(context.signal.aborted, false);
  assert.notEqual(contexts[0]!.lease, contexts[1]!.lease);
});

test('an error fails the attempt with its stack and its causes, and another one is made', async () => {
  const flow = new Flow({ slug: 'errors', baseDelay: 0 }).step({ slug: 's' }, (_, { attempt }) => {
    if (attempt === 1) throw new TypeError('no such thing\0', { cause: new Error('the disk is full') });
    return attempt;
  });
  await define(flow);
  const worker = await work([flow], { pollInterval: 50 });
  const runId = await run(flow);
  assert.deepEqual(await completes(runId), { s: 2 });
  await worker.stop();
  const [first] = await attempts(runId);
  assert.equal(first!.status, 'failed');
  assert.match(first!.error_message!, /^TypeError: no such thing\uFFFD\n {4}at .*worker\.test\.js:\d+/);
  assert.match(first!.error_message!, /\ncaused by Error: the disk is full\n {4}at /);
  assert.doesNotMatch(first!.error_message!, /node:/);
});

test('errors say whether and when another attempt is made', async () => {
  const flow = new Flow({ slug: 'says', input: type<string>(), baseDelay: 100 }).step({ slug: 's' }, ({ run }, { attempt }) => {
    if (run === 'never') throw new NonRetryableError('the order is gone');
    if (run === 'later' && attempt === 1) throw new RetryAfterError(1, 'too many requests');
    if (run === 'own' && attempt === 1) throw Object.assign(new Error('of a library'), { retryAfter: 0 });
    if (run === 'text') throw 'just text';
    if (run === 'nothing') throw undefined;
    return attempt;
  });
  await define(flow);
  const worker = await work([flow], { pollInterval: 50, stacks: false });
  const never = await ended(await run(flow, 'never'));
  assert.deepEqual([never.status, never.error_message], ['failed', 'NonRetryableError: the order is gone']);
  const begun = Date.now();
  assert.deepEqual(await completes(await run(flow, 'later')), { s: 2 });
  assert.ok(Date.now() - begun >= 900, `retried after ${Date.now() - begun} ms`);
  assert.deepEqual(await completes(await run(flow, 'own')), { s: 2 });
  for (const [payload, message] of [['text', 'just text'], ['nothing', 'undefined was thrown']] as const) {
    const runId = await run(flow, payload);
    const failed = await eventually(() => attempts(runId), (all) => all[0]?.status === 'failed');
    assert.equal(failed[0]!.error_message, message);
  }
  await worker.stop();
  assert.throws(() => new RetryAfterError(-1), RangeError);
});

test('whatever is thrown fails its attempt, and nothing else', async () => {
  const angry = () => { throw new Error('of a getter'); };
  const thrown: Record<string, unknown> = {
    getters: new Proxy(new Error('x'), { get: angry, has: angry, getPrototypeOf: angry }),
    message: { message: Object.create(null) },
    name: Object.assign(new Error('x'), { name: Symbol('s') }),
    cause: Object.defineProperty(new Error('x'), 'cause', { get: angry }),
    retryable: Object.defineProperty(new Error('x'), 'retryable', { get: angry }),
    bare: Object.assign(Object.create(null), { n: 1n }),
    tag: { n: 1n, get [Symbol.toStringTag]() { return angry(); } },
  };
  const flow = new Flow({ slug: 'anything', input: type<string>(), maxAttempts: 1 }).step({ slug: 's' }, ({ run }) => { throw thrown[run]; });
  await define(flow);
  const worker = await work([flow]);
  for (const which of Object.keys(thrown)) {
    const { status, error_message } = await ended(await run(flow, which), 5_000);
    assert.equal(status, 'failed', which);
    assert.ok(error_message, which);
  }
  await worker.stop({ timeout: 1_000 });
});

test('what is not JSON fails its attempt, and nothing else', async () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const outputs: Record<string, unknown> = {
    bigint: { n: 10n },
    circular,
    function: () => 1,
    symbol: Symbol('s'),
    zero_character: { a: ['\0'] },
    half_a_pair: 'a\ud800b',
    throws: { toJSON: () => { throw new Error('no JSON of me'); } },
  };
  const flow = new Flow({ slug: 'not_json', input: type<string>() }).step({ slug: 's' }, (({ run }: { run: string }) => outputs[run]) as () => null);
  await define(flow);
  const worker = await work([flow]);
  for (const which of Object.keys(outputs)) {
    const { status, error_message } = await ended(await run(flow, which));
    assert.equal(status, 'failed', which);
    assert.match(error_message!, /^Error: the output is not JSON: /, which);
  }
  assert.match((await ended(await run(flow, 'bigint'))).error_message!, /\$\.n/);
  await worker.stop();
});

test('outputs arrive as they are, falsy ones too', async () => {
  const values = [0, false, '', null, [], {}, 'a\\u0000b', 1.5e300, '😀', { a: undefined, b: [null] }];
  const flow = new Flow({ slug: 'as_is', input: type<number[]>() }).map({ slug: 'v' }, (({ item }: { item: number }) => values[item]) as () => null);
  const nothing = new Flow({ slug: 'nothing' }).step({ slug: 'v' }, () => {});
  await define(flow);
  await define(nothing);
  const worker = await work([flow, nothing]);
  const output = await completes(await run(flow, values.map((_, n) => n)));
  assert.deepEqual(output.v, JSON.parse(JSON.stringify(values)));
  assert.deepEqual(await completes(await run(nothing)), { v: null });
  await worker.stop();
});

test('an output that the database refuses does not keep others from being settled', async () => {
  // JSON has no limit to its levels, and the server's stack has.
  await db.rows(`alter database ${db.name} set max_stack_depth = '100kB'`);
  let deep: unknown = 1;
  for (let level = 0; level < 900; level++) deep = [deep];
  const flow = new Flow({ slug: 'refused', input: type<number[]>(), maxAttempts: 1 }).map({ slug: 'v', whenExhausted: 'skip' }, (({ item }: { item: number }) => (item === 3 ? deep : item)) as () => number);
  const other = new Flow({ slug: 'beside' }).step({ slug: 's', queue: 'refused' }, () => 'fine');
  await define(flow);
  await define(other);
  const bad = await run(flow, [0, 1, 2, 3, 4]);
  const good = await Promise.all([run(other), run(other)]);
  const worker = await work([flow, other]);
  for (const runId of good) assert.deepEqual(await completes(runId), { s: 'fine' });
  assert.equal((await ended(bad)).status, 'completed');
  const failed = (await attempts(bad)).filter(({ status }) => status === 'failed');
  assert.equal(failed.length, 1);
  assert.match(failed[0]!.error_message!, /^the output cannot be stored: /);
  await worker.stop();
  await db.rows(`alter database ${db.name} reset max_stack_depth`);
});

test('a handler that takes longer than its lease keeps it', async () => {
  const flow = new Flow({ slug: 'long', timeout: 1 }).step({ slug: 's' }, async (_, { signal, attempt }) => {
    await sleep(3_300);
    return { attempt, aborted: signal.aborted };
  });
  await define(flow);
  // Two workers: the other one would take the task if the lease ran out.
  const workers = await Promise.all([work([flow], { pollInterval: 100 }), work([flow], { pollInterval: 100 })]);
  assert.deepEqual(await completes(await run(flow)), { s: { attempt: 1, aborted: false } });
  await Promise.all(workers.map((worker) => worker.stop()));
});

test('a lease of decades is longer than any timer, and does no harm', async () => {
  const warnings: string[] = [];
  const warn = (warning: Error) => void warnings.push(warning.name);
  process.on('warning', warn);
  const flow = new Flow({ slug: 'decades', timeout: 1_500_000_000 }).step({ slug: 's' }, () => sleep(200));
  await define(flow);
  const worker = await work([flow]);
  assert.deepEqual(await completes(await run(flow)), { s: null });
  await worker.stop();
  process.off('warning', warn);
  assert.deepEqual(warnings, []);
});

test('a handler learns that its run was cancelled', async () => {
  let reason: unknown;
  const errors: unknown[] = [];
  const flow = new Flow({ slug: 'cancelled', timeout: 2 }).step({ slug: 's' }, async (_, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    reason = signal.reason;
    return 'too late';
  });
  await define(flow);
  const worker = await work([flow], { hooks: { onError: (error) => errors.push(error) } });
  const runId = await run(flow);
  await eventually(() => attempts(runId), ([one]) => one?.status === 'started');
  await db.rows(`select pgflow.cancel_run($1)`, [runId]);
  await eventually(async () => reason, (seen) => seen !== undefined, 5_000);
  assert.ok(reason instanceof LeaseLostError);
  assert.equal(reason.runStatus, 'cancelled');
  assert.deepEqual(errors, [reason]);
  await worker.stop();
  assert.equal((await ended(runId)).status, 'cancelled');
});

test('a task that another worker took over is let go, and its result is refused', async () => {
  let reason: unknown;
  const flow = new Flow({ slug: 'taken', timeout: 4 }).step({ slug: 's' }, async (_, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    reason = signal.reason;
    return 'mine';
  });
  await define(flow);
  const worker = await work([flow], { concurrency: 1 });
  const runId = await run(flow);
  await eventually(() => attempts(runId), ([one]) => one?.status === 'started');
  // As if the worker had been away for longer than its lease.
  await db.rows(`update pgflow.live_tasks set lease_expires_at = clock_timestamp() where run_id = $1`, [runId]);
  const [claimed] = await db.rows(`select * from pgflow.claim_step_tasks('taken', 1)`);
  assert.equal(claimed.attempt, 2);
  await eventually(async () => reason, (seen) => seen !== undefined, 5_000);
  assert.ok(reason instanceof LeaseLostError);
  assert.equal(reason.taskStatus, 'started');
  await db.rows(`select pgflow.complete_step_task($1, 's', '"theirs"', lease => $2)`, [runId, claimed.lease]);
  assert.deepEqual(await completes(runId), { s: 'theirs' });
  await worker.stop();
});

test('a handler that takes longer than it may fails its attempt and gives its place free', async () => {
  const reasons: unknown[] = [];
  const flow = new Flow({ slug: 'hangs', input: type<boolean>(), maxAttempts: 2, baseDelay: 0 }).step({ slug: 's' }, async ({ run }, { signal }) => {
    signal.addEventListener('abort', () => reasons.push(signal.reason));
    if (run) await new Promise(() => {});
    return 'done';
  });
  await define(flow);
  const worker = await work([flow], { concurrency: 1, maxTaskSeconds: 0.3, pollInterval: 50 });
  const hanging = await run(flow, true);
  const { status, error_message } = await ended(hanging);
  assert.equal(status, 'failed');
  assert.match(error_message!, /^TaskTimeoutError: the handler did not end within 0\.3 s/);
  assert.equal((await attempts(hanging)).length, 2);
  assert.ok(reasons[0] instanceof TaskTimeoutError);
  assert.deepEqual(await completes(await run(flow, false)), { s: 'done' });
  await worker.stop();
});

test('tasks that have no handler here are handed back, and another worker does them', async () => {
  const known = new Flow({ slug: 'shared' }).step({ slug: 'mine' }, () => 1);
  const whole = known.step({ slug: 'theirs' }, () => 2);
  await define(whole);
  const warnings: string[] = [];
  const logger = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
  const worker = await work([known], { logger });
  const runId = await run(whole);
  await eventually(async () => warnings, (all) => all.some((text) => /shared\.theirs, which has no handler here/.test(text)));
  await eventually(() => attempts(runId), (all) => all.some(({ status }) => status === 'completed'));
  const other = await work([whole]);
  assert.deepEqual(await completes(runId), { mine: 1, theirs: 2 });
  assert.deepEqual((await attempts(runId)).map(({ attempt }) => attempt), [1, 1]);
  await Promise.all([worker.stop(), other.stop()]);
});

test('several queues share the handlers of a worker', async () => {
  let now = 0;
  let most = 0;
  const seen: string[] = [];
  const handler = async (_: unknown, { stepSlug }: StepContext) => {
    most = Math.max(most, ++now);
    seen.push(stepSlug);
    await sleep(20);
    now--;
    return null;
  };
  const one = new Flow({ slug: 'queue_one', input: type<number[]>() }).map({ slug: 'a' }, handler);
  const two = new Flow({ slug: 'queue_two', input: type<number[]>() })
    .map({ slug: 'b' }, handler)
    .step({ slug: 'c', queue: 'queue_three', dependsOn: ['b'] }, handler);
  await define(one);
  await define(two);
  const runs = await Promise.all([run(one, Array(60).fill(0)), run(two, Array(30).fill(0))]);
  const worker = await work([one, two], { concurrency: 3 });
  assert.deepEqual([...worker.queues].sort(), ['queue_one', 'queue_three', 'queue_two']);
  for (const runId of runs) await completes(runId);
  await worker.stop();
  assert.equal(most, 3);
  // Neither waits for the other.
  const firstHalf = seen.slice(0, 40);
  assert.ok(firstHalf.includes('a') && firstHalf.includes('b'), firstHalf.join(''));
});

test('a worker may serve some of the queues', async () => {
  const flow = new Flow({ slug: 'parts' }).step({ slug: 'a', queue: 'left' }, () => 1).step({ slug: 'b', queue: 'right' }, () => 2);
  await define(flow);
  const worker = await work([flow], { queue: 'left' });
  assert.deepEqual(worker.queues, ['left']);
  const runId = await run(flow);
  await eventually(() => attempts(runId), (all) => all[0]!.status === 'completed');
  assert.equal((await attempts(runId))[1]!.status, 'queued');
  await worker.stop();
  const other = await work([flow], { queue: ['left', 'right'] });
  assert.deepEqual(await completes(runId), { a: 1, b: 2 });
  await other.stop();
});

test('a busy worker makes one round trip for each batch', async () => {
  const flow = new Flow({ slug: 'busy', input: type<number[]>() }).map({ slug: 'm' }, ({ item }) => item);
  await define(flow);
  let calls = 0;
  let settled = 0;
  const runId = await run(flow, Array.from({ length: 2_000 }, (_, n) => n));
  const worker = await work([flow], { concurrency: 100, hooks: { onClaim: (call) => { calls++; settled += call.settled; } } });
  const output = await completes(runId);
  await worker.stop();
  assert.equal(output.m.length, 2_000);
  assert.equal(settled, 2_000);
  // 20 batches of 100, and the first and last call.
  assert.ok(calls <= 24, `${calls} calls`);
});

test('at concurrency 1 results still go in batches, and one handler runs at a time', async () => {
  let now = 0;
  const flow = new Flow({ slug: 'one_by_one', input: type<number[]>() }).map({ slug: 'm' }, async ({ item }) => {
    assert.equal(++now, 1);
    await Promise.resolve();
    now--;
    return item;
  });
  await define(flow);
  let calls = 0;
  const runId = await run(flow, Array.from({ length: 1_000 }, (_, n) => n));
  const worker = await work([flow], { concurrency: 1, batchSize: 50, hooks: { onClaim: () => calls++ } });
  await completes(runId);
  await worker.stop();
  assert.ok(calls < 200, `${calls} calls`);
});

test('a worker does not sit on tasks while its handlers are slow', async () => {
  const flow = new Flow({ slug: 'slow', input: type<number[]>() }).map({ slug: 'm' }, async ({ item }) => {
    // Fast ones teach the worker to claim ahead.
    await (item < 200 ? undefined : sleep(1_500));
    return null;
  });
  await define(flow);
  const runId = await run(flow, Array.from({ length: 206 }, (_, n) => n));
  const worker = await work([flow], { concurrency: 2 });
  await eventually(() => attempts(runId), (all) => all.filter(({ status }) => status === 'completed').length >= 200);
  // Another one helps, within the time that it takes to notice.
  const done: string[] = [];
  const other = await work([flow], { concurrency: 10, hooks: { onSettle: (task) => done.push(task.idempotencyKey) } });
  await completes(runId);
  assert.ok(done.length > 0);
  assert.deepEqual((await attempts(runId)).filter(({ attempt }) => attempt !== 1), []);
  await Promise.all([worker.stop(), other.stop()]);
});

test('what was claimed ahead is handed back within a second, also while some of it begins', async () => {
  const flow = new Flow({ slug: 'slower', input: type<number[]>() }).map({ slug: 'm' }, async ({ item }) => {
    await (item < 200 ? undefined : sleep(600));
    return null;
  });
  await define(flow);
  const runId = await run(flow, Array.from({ length: 230 }, (_, n) => n));
  const worker = await work([flow], { concurrency: 1 });
  await eventually(() => attempts(runId), (all) => all.filter(({ status }) => status === 'completed').length >= 200);
  await sleep(2_000);
  const held = (await attempts(runId)).filter(({ status }) => status === 'started').length;
  assert.ok(held <= 2, `${held} are held`);
  await worker.stop();
  await db.rows('select pgflow.cancel_run($1)', [runId]);
});

describe('results', () => {
  interface Sent { task_index: number; output?: unknown; error_message?: string }

  /** A worker over HTTP, with so many tasks whose results are answered by `answer`, or accepted if that says nothing. */
  async function serve(slug: string, tasks: number, answer: (results: Sent[], body: string) => Response | undefined) {
    const flow = new Flow({ slug, input: type<number[]>(), timeout: 1 }).map({ slug: 'm' }, async () => {
      await sleep(100);
      return 'precious';
    });
    const settled: number[] = [];
    const given: unknown[] = [];
    let isGiven = false;
    const fetch = async (url: unknown, init?: { body?: unknown }): Promise<Response> => {
      const body = JSON.parse(String(init?.body));
      if (String(url).endsWith('extend_step_task')) return answer([], '') ?? Response.json({ accepted: true });
      const results: Sent[] = body.results;
      const refusal = answer(results, String(init?.body));
      if (refusal !== undefined) return refusal;
      settled.push(...results.map((result) => result.task_index));
      if (String(url).endsWith('settle_step_tasks')) return Response.json(results.map(() => ({ accepted: true })));
      if (body.max_tasks === 0 || isGiven) return Response.json([]);
      isGiven = true;
      return Response.json(Array.from({ length: tasks }, (_, n) => ({
        run_id: `01900000-0000-7000-8000-00000000000${n % 3}`, flow_slug: slug, step_slug: 'm', task_index: n, attempt: 1, input: { item: n }, lease: n + 1,
        lease_expires_at: new Date(Date.now() + 1_000).toISOString(),
      })));
    };
    const worker = await work([flow], {
      connection: { url: 'http://nowhere', fetch: fetch as typeof globalThis.fetch }, pollInterval: 100, leaseSeconds: 1,
      hooks: { onError: (error, task) => { if (task !== undefined) given.push([task.taskIndex, (error as CallError).code]); } },
    });
    return { worker, settled, given };
  }

  test('are kept while the worker is not let in, whatever it is told', async () => {
    const answers: [number, unknown][] = [
      [401, { code: 'PGRST301', message: 'JWT expired' }],
      [403, '<html>blocked</html>'],
      [403, { code: '42501', message: 'permission denied' }],
      [404, '<html>no such backend</html>'],
      [404, { code: 'PGRST202', message: 'not in the schema cache' }],
      [200, '<html>maintenance</html>'],
      [500, { code: 'XX000', message: 'Tenant or user not found' }],
      [503, '<html>overloaded</html>'],
    ];
    await Promise.all(answers.map(async ([status, body], n) => {
      let isShut = false;
      const shut = () => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });
      const { worker, settled, given } = await serve(`kept_${n}`, 5, (results) => {
        isShut ||= results.length > 0 && !settled.includes(-1);
        return isShut ? shut() : undefined;
      });
      await eventually(async () => isShut, Boolean);
      await sleep(2_500);
      assert.equal(settled.length, 0, `${status} ${body}`);
      settled.push(-1);
      isShut = false;
      await eventually(async () => settled, (all) => all.length >= 6, 15_000);
      await worker.stop();
      assert.deepEqual([...settled].sort(), [-1, 0, 1, 2, 3, 4], `${status} ${body}`);
      assert.deepEqual(given, []);
    }));
  });

  test('of which one is forbidden do not keep the others', async () => {
    const { worker, settled, given } = await serve('forbidden', 6, (results) =>
      results.some(({ task_index: index }) => index === 2) ? Response.json({ code: '42501', message: 'not yours' }, { status: 403 }) : undefined);
    await eventually(async () => settled, (all) => all.length === 5, 5_000);
    await eventually(async () => given, (all) => all.length === 1, 15_000);
    assert.deepEqual(given, [[2, '42501']]);
    await worker.stop({ timeout: 3_000 });
    assert.deepEqual(settled.sort(), [0, 1, 3, 4, 5]);
  });

  test('of which one is refused for a reason that nobody knows do not keep the others', async () => {
    let isRefused = true;
    const { worker, settled, given } = await serve('unknown_reason', 6, (results) =>
      isRefused && results.some(({ task_index: index }) => index === 2) ? new Response('<html>blocked</html>', { status: 403 }) : undefined);
    await eventually(async () => settled, (all) => all.length === 5, 5_000);
    await sleep(1_500);
    isRefused = false;
    await eventually(async () => settled, (all) => all.length === 6, 15_000);
    await worker.stop();
    assert.deepEqual(given, []);
  });

  test('of which one is too large do not keep the others', async () => {
    const failed: unknown[] = [];
    const { worker, settled } = await serve('large', 6, (results) => {
      if (results.some((one) => one.task_index === 2 && one.output !== undefined)) return new Response('', { status: 413 });
      failed.push(...results.filter((one) => one.error_message !== undefined).map((one) => one.task_index));
      return undefined;
    });
    await eventually(async () => settled, (all) => all.length === 6, 10_000);
    await worker.stop();
    assert.deepEqual(failed, [2]);
  });

  test('of a run that somebody holds locked do not keep the others, and keep their leases', async () => {
    let calls = 0;
    const flow = new Flow({ slug: 'locked', input: type<number[]>(), timeout: 2 }).map({ slug: 'm' }, async ({ item }) => {
      calls++;
      await sleep(300);
      return item;
    });
    await define(flow);
    const worker = await work([flow], { connection: { connectionString: db.url, statement_timeout: 1_000 }, pollInterval: 100, concurrency: 20 });
    const stuck = await run(flow, [1, 2]);
    const beside = await Promise.all([run(flow, [3]), run(flow, [4])]);
    const holder = new pg.Client({ connectionString: db.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('select pgflow_locks.lock_run($1)', [stuck]);
    try {
      for (const id of beside) await completes(id);
      const begun = performance.now();
      // The queue goes on, for longer than the leases of what waits.
      while (performance.now() - begun < 6_000) {
        const { status } = await ended(await run(flow, [5]), 3_000);
        assert.equal(status, 'completed');
      }
      assert.ok((await attempts(stuck)).every(({ attempt }) => attempt === 1));
    } finally {
      await holder.query('rollback');
      await holder.end();
    }
    assert.deepEqual(await completes(stuck), { m: [1, 2] });
    assert.ok((await attempts(stuck)).every(({ attempt }) => attempt === 1));
    const [{ n }] = await db.rows(`select count(*)::int as n from pgflow.step_tasks where flow_slug = 'locked'`);
    assert.equal(calls, n);
    await worker.stop();
  });
});

describe('waiting', () => {
  const flow = new Flow({ slug: 'waits' }).step({ slug: 's' }, () => Date.now());

  async function latency(options: Partial<WorkerOptions>): Promise<number[]> {
    const worker = await work([flow], options);
    const took: number[] = [];
    for (let n = 0; n < 5; n++) {
      // It has found nothing, and waits.
      await sleep(150);
      const begun = Date.now();
      took.push((await completes(await run(flow))).s - begun);
    }
    await worker.stop();
    return took.sort((a, b) => a - b);
  }

  before(() => define(flow));

  test('a notification wakes the worker up', async (t) => {
    const took = await latency({ pollInterval: 10_000 });
    t.diagnostic(`notified, ms: ${took.join(' ')}`);
    assert.ok(took[4]! < 500, took.join(' '));
  });

  test('without notifications it polls', async (t) => {
    const took = await latency({ pollInterval: 300, listen: false });
    t.diagnostic(`polled every 300 ms, ms: ${took.join(' ')}`);
    assert.ok(took[4]! < 900, took.join(' '));
    const locks = await db.rows(`select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock'`);
    assert.equal(locks.length, 0);
  });

  test('it holds the lock of its queue while it waits, once, and not while it works', async () => {
    const held = async () =>
      (await db.rows(`select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted and database = (select oid from pg_database where datname = current_database())`)).length;
    const busy = new Flow({ slug: 'locks', input: type<number[]>() }).map({ slug: 'm' }, () => sleep(100));
    await define(busy);
    const worker = await work([busy], { concurrency: 1, pollInterval: 10_000 });
    await eventually(held, (count) => count === 1);
    const runId = await run(busy, Array(8).fill(0));
    await eventually(held, (count) => count === 0);
    await completes(runId);
    await eventually(held, (count) => count === 1);
    await worker.stop();
    assert.equal(await held(), 0);
  });

  test('it hears again after its connections were ended', async () => {
    const worker = await work([flow], { pollInterval: 10_000 });
    await sleep(150);
    await db.rows(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgflow worker' and datname = current_database()`);
    await sleep(500);
    const begun = Date.now();
    const { s } = await completes(await run(flow));
    assert.ok(s - begun < 1_000, `${s - begun} ms`);
    await worker.stop();
  });
});

test('the server gives a call up before the worker does', async () => {
  await db.rows(`
    create table limits (value text);
    create function note_limit() returns trigger language plpgsql as $$
      begin insert into public.limits values (current_setting('statement_timeout')); return null; end $$;
    create trigger note_limit after update on pgflow.live_tasks for each statement execute function note_limit()`);
  const flow = new Flow({ slug: 'limited' }).step({ slug: 's' }, () => 1);
  await define(flow);
  const limits = async (options: Partial<WorkerOptions>) => {
    await db.rows('truncate limits');
    const worker = await work([flow], options);
    await completes(await run(flow));
    await worker.stop();
    return (await db.rows('select distinct value from limits')).map(({ value }) => value);
  };
  assert.deepEqual(await limits({}), ['25s']);
  assert.deepEqual(await limits({ connection: { connectionString: db.url, statement_timeout: 60_000 } }), ['25s']);
  assert.deepEqual(await limits({ connection: { connectionString: db.url, statement_timeout: 5_000 } }), ['5s']);
  // A setting would stay with a connection of a pooler.
  assert.deepEqual(await limits({ listen: false }), ['0']);
  await db.rows('drop table limits; drop function note_limit() cascade');
});

describe('stopping', () => {
  test('lets running handlers end, and hands back what has not begun', async () => {
    const flow = new Flow({ slug: 'stops', input: type<number[]>() }).map({ slug: 'm' }, async ({ item }) => {
      // The first ones are over at once, so that more is claimed than can be begun.
      if (item >= 50) await sleep(400);
      return item;
    });
    await define(flow);
    const runId = await run(flow, Array.from({ length: 80 }, (_, n) => n));
    const worker = await work([flow], { concurrency: 2 });
    await eventually(() => attempts(runId), (all) => all.filter(({ status }) => status === 'completed').length >= 50);
    await worker.stop();
    const all = await attempts(runId);
    assert.deepEqual([...new Set(all.map(({ status }) => status))].sort(), ['completed', 'queued']);
    assert.ok(all.every(({ attempt }) => attempt === 1));
    await worker.done;
    await db.rows('select pgflow.cancel_run($1)', [runId]);
  });

  test('after its time it tells handlers to end, and hands their tasks back', async () => {
    const reasons: unknown[] = [];
    const flow = new Flow({ slug: 'in_time' }).step({ slug: 's' }, async (_, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      reasons.push(signal.reason);
      throw signal.reason;
    });
    await define(flow);
    const runId = await run(flow);
    const worker = await work([flow]);
    await eventually(() => attempts(runId), ([one]) => one!.status === 'started');
    const begun = performance.now();
    await worker.stop({ timeout: 300 });
    assert.ok(performance.now() - begun < 1_500);
    assert.ok(reasons[0] instanceof WorkerStoppedError);
    assert.deepEqual(await attempts(runId), [{ attempt: 1, status: 'queued', error_message: null }]);
    await db.rows('select pgflow.cancel_run($1)', [runId]);
  });

  test('may be asked for before, while and after it starts, and again', async () => {
    const flow = new Flow({ slug: 'early' }).step({ slug: 's' }, () => 1);
    await define(flow);
    const unstarted = createWorker({ connection: db.url, flows: [flow] });
    await unstarted.stop();
    await assert.rejects(unstarted.start(), /has been stopped/);
    const starting = createWorker({ connection: db.url, flows: [flow] });
    const started = starting.start();
    await starting.stop();
    await started;
    await starting.stop();
    const idle = await work([flow]);
    await Promise.all([idle.stop(), idle.stop({ timeout: 10 }), idle.done]);
    const left = await db.rows(`select 1 from pg_stat_activity where application_name = 'pgflow worker' and datname = current_database()`);
    assert.equal(left.length, 0);
  });
});

test('a worker that may take for ever to stop claims no more, and stops', async () => {
  const flow = new Flow({ slug: 'for_ever' }).step({ slug: 's' }, () => sleep(500));
  await define(flow);
  const worker = await work([flow], { pollInterval: 50 });
  const first = await run(flow);
  await eventually(() => attempts(first), ([one]) => one?.status === 'started');
  const stopped = worker.stop({ timeout: Infinity });
  const second = await run(flow);
  assert.equal(await Promise.race([stopped.then(() => 'stopped'), sleep(5_000)]), 'stopped');
  assert.deepEqual(await completes(first), { s: null });
  assert.equal((await attempts(second))[0]!.status, 'queued');
  await db.rows('select pgflow.cancel_run($1)', [second]);
});

describe('starting', () => {
  const flow = new Flow({ slug: 'starts' }).step({ slug: 's' }, () => 1);

  test('fails where it never could work', async () => {
    await define(flow);
    const silent = { flows: [flow], logger: false } as const;
    await assert.rejects(createWorker({ connection: db.url.replace(db.name, 'no_such_database'), ...silent }).start(), (error) => {
      assert.ok(error instanceof CallError);
      assert.equal(error.code, '3D000');
      return true;
    });
    await db.rows('create role nobody_in_particular login');
    try {
      await assert.rejects(createWorker({ connection: db.url.replace(/\/\/[^@]*@/, '//nobody_in_particular@'), ...silent }).start(), { code: '42501' });
    } finally {
      await db.rows('drop role nobody_in_particular');
    }
    await assert.rejects(createWorker({ connection: 'https://x.supabase.co/rest/v1', ...silent }).start(), /token/);
  });

  test('waits for a database that cannot be reached yet', async () => {
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
    const worker = createWorker({ connection: 'postgresql://postgres@127.0.0.1:1/x', flows: [flow], logger });
    const started = worker.start();
    await eventually(async () => warnings, (all) => all.some((text) => /ECONNREFUSED.*trying again/.test(text)));
    await worker.stop();
    await started;
  });

  test('refuses options that cannot be', () => {
    const connection = db.url;
    assert.throws(() => createWorker({ connection, flows: [] }), /none of these flows/);
    assert.throws(() => createWorker({ connection, flows: [new Flow({ slug: 'x' }).step({ slug: 's' })] }), /none of these flows/);
    assert.throws(() => createWorker({ connection, flows: [flow], queue: 'other' }), /in queue "other"/);
    for (const options of [{ concurrency: 0 }, { concurrency: 1.5 }, { batchSize: 1_001 }, { pollInterval: 0 }, { leaseSeconds: 0 }, { maxTaskSeconds: 0 }]) {
      assert.throws(() => createWorker({ connection, flows: [flow], ...options }), RangeError, JSON.stringify(options));
    }
  });

  test('two sessions of a role that may only work can do it', async () => {
    await define(flow);
    await db.rows(`create role a_worker login`);
    try {
      await db.rows(`select pgflow.grant_access('a_worker', 'worker'), pgflow.grant_queue('starts', 'a_worker')`);
      const worker = await work([flow], { connection: db.url.replace(/\/\/[^@]*@/, '//a_worker@') });
      assert.deepEqual(await completes(await run(flow)), { s: 1 });
      await worker.stop();
    } finally {
      await db.rows(`select pgflow.revoke_queue('starts', 'a_worker'), pgflow.revoke_access('a_worker', 'worker')`);
      await db.rows('drop role a_worker');
    }
  });
});

test('hooks are told, and what they throw changes nothing', async () => {
  const told: string[] = [];
  const flow = new Flow({ slug: 'hooked', baseDelay: 0 }).step({ slug: 's' }, (_, { attempt }) => {
    told.push('handler');
    if (attempt === 1) throw new Error('first');
    return 'x';
  });
  await define(flow);
  const worker = await work([flow], {
    pollInterval: 50,
    hooks: {
      onStart: (task) => { told.push(`start ${task.attempt}`); throw new Error('of a hook'); },
      onSettle: (task, result) => told.push(`settle ${task.attempt} ${result.status} ${result.message?.split('\n')[0] ?? ''}`),
      onError: (error, task) => told.push(`error ${(error as Error).message} ${task?.stepSlug}`),
      around: async (task, next) => {
        told.push('in');
        try {
          return `${await next()}${task.attempt}`;
        } finally {
          told.push('out');
        }
      },
    },
  });
  assert.deepEqual(await completes(await run(flow)), { s: 'x2' });
  await worker.stop();
  assert.deepEqual(told, [
    'start 1', 'in', 'handler', 'out', 'error first s', 'settle 1 failed Error: first',
    'start 2', 'in', 'handler', 'out', 'settle 2 completed ',
  ]);
});

test('a hook that is async and rejects is logged, and changes nothing', async () => {
  const flow = new Flow({ slug: 'hooked_late' }).step({ slug: 's' }, () => 1);
  await define(flow);
  const logged: unknown[] = [];
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  const logger = { debug() {}, info() {}, warn() {}, error: (...message: unknown[]) => void logged.push(message[1]) };
  const reject = async () => { throw new Error('metrics are down'); };
  const worker = await work([flow], { logger, hooks: { onClaim: reject, onStart: reject, onSettle: reject } });
  assert.deepEqual(await completes(await run(flow)), { s: 1 });
  await worker.stop();
  process.off('unhandledRejection', note);
  assert.deepEqual(unhandled, []);
  assert.ok(logged.length >= 3 && logged.every((error) => /metrics are down/.test(String(error))), String(logged));
});

test('nothing is left wrong in the database', async () => {
  assert.deepEqual(await db.rows('select * from pgflow.check_integrity()'), []);
});
