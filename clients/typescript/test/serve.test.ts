/** `serveSteps` against the background worker of a real server, which makes the requests. */
import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, mock, test } from 'node:test';
import { Flow, toDefinition, type } from '../src/index.js';
import type { AnyFlow } from '../src/index.js';
import { LeaseLostError, NonRetryableError, RetryAfterError, later, laterTask, nodeListener, serveSteps } from '../src/serve.js';
import type { FetchHandler, LaterTask, StepContext } from '../src/serve.js';
import { resultText } from '../src/worker-results.js';
import { eventually } from './database.js';
import { startCluster } from './worker-cluster.js';
import type { Cluster } from './worker-cluster.js';

const OLD = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const NEW = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

let cluster: Cluster;
let server: Server;
let base: string;
/** What answers at the endpoint now. */
let endpoint: FetchHandler = async () => new Response(null, { status: 503 });
const requests: { headers: Record<string, unknown>; status: number }[] = [];

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

before(async () => {
  server = createServer((request, response) => {
    response.on('finish', () => requests.push({ headers: request.headers, status: response.statusCode }));
    nodeListener((...args) => endpoint(...args))(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  cluster = startCluster('shared_preload_libraries=pgflow', `pgflow.http_allowed_hosts='127.0.0.1'`);
  await cluster.rows('create extension pgflow');
});
after(() => {
  server.closeAllConnections();
  server.close();
  cluster.remove();
});

async function define(flow: AnyFlow, secrets: string[] = [OLD]): Promise<void> {
  await cluster.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  await cluster.rows('select pgflow.set_http_secrets($1::text[], $2)', [secrets, flow.slug]);
}

async function run(flow: AnyFlow, payload: unknown = {}): Promise<string> {
  const [row] = await cluster.rows('select pgflow.run_flow($1, $2::jsonb) as id', [flow.slug, JSON.stringify(payload)]);
  return row.id;
}

async function ended(runId: string): Promise<{ status: string; output: any; error_message: string | null }> {
  const [row] = await eventually(
    () => cluster.rows('select status, output, error_message from pgflow.runs where run_id = $1', [runId]),
    ([found]) => !['pending', 'started'].includes(found.status),
  );
  return row;
}

const attempts = (runId: string) =>
  cluster.rows('select attempt, status, error_message from pgflow.step_tasks where run_id = $1 order by step_slug, attempt', [runId]);

const quiet = { onError: () => {} };

test('steps are done by an endpoint, and the answer is the output', async () => {
  const contexts: StepContext[] = [];
  const flow = new Flow({ slug: 'served', executor: 'http', target: base, input: type<{ name: string }>() })
    .http({ slug: 'greet' }, ({ run: { name } }, context) => {
      contexts.push(context);
      return `hello ${name}`;
    })
    .http({ slug: 'nothing', dependsOn: ['greet'] }, () => {})
    .http({ slug: 'zero', dependsOn: ['nothing'] }, ({ nothing }) => (nothing === null ? 0 : 1));
  await define(flow);
  endpoint = serveSteps([flow], { secret: OLD });
  const runId = await run(flow, { name: 'ann' });
  assert.deepEqual(await ended(runId), { status: 'completed', output: { zero: 0 }, error_message: null });
  const [context] = contexts;
  assert.equal(context!.runId, runId);
  assert.equal(context!.stepSlug, 'greet');
  assert.equal(context!.attempt, 1);
  assert.equal(context!.idempotencyKey, `${runId}/greet/0`);
  assert.match(context!.traceparent, new RegExp(`^00-${runId.replaceAll('-', '')}-`));
  assert.ok(Number.isSafeInteger(context!.lease));
});

test('errors are answered so that another attempt is made, or not', async () => {
  const flow = new Flow({ slug: 'fails', executor: 'http', target: base, input: type<string>(), baseDelay: 0, maxAttempts: 2 })
    .http({ slug: 's' }, ({ run: what }, { attempt }) => {
      if (what === 'never') throw new NonRetryableError('the order is gone');
      if (what === 'later' && attempt === 1) throw new RetryAfterError(1);
      if (what === 'once' && attempt === 1) throw new Error('the disk is full');
      if (what === 'big') return 1n as unknown as number;
      return attempt;
    });
  await define(flow);
  endpoint = serveSteps([flow], { secret: [OLD], ...quiet });
  const never = await run(flow, 'never');
  assert.deepEqual(await ended(never).then(({ status }) => status), 'failed');
  assert.match((await attempts(never))[0].error_message, /^HTTP 422 .*"error":"NonRetryableError: the order is gone","stack":/);
  assert.equal((await attempts(never)).length, 1);
  const begun = Date.now();
  assert.deepEqual((await ended(await run(flow, 'later'))).output, { s: 2 });
  assert.ok(Date.now() - begun >= 900);
  const once = await run(flow, 'once');
  assert.deepEqual((await ended(once)).output, { s: 2 });
  assert.match((await attempts(once))[0].error_message, /^HTTP 500 .*"error":"Error: the disk is full"/);
  const big = await ended(await run(flow, 'big'));
  assert.match(big.error_message!, /^HTTP 422 .*not JSON/);
});

test('only who has a secret is answered', async () => {
  let calls = 0;
  const flow = new Flow({ slug: 'secret', executor: 'http', target: base, maxAttempts: 1 }).http({ slug: 's' }, () => ++calls);
  await define(flow, [NEW]);
  endpoint = serveSteps([flow], { secret: OLD });
  assert.match((await ended(await run(flow))).error_message!, /^HTTP 401 /);
  assert.equal(calls, 0);
  // While it is replaced, on either side.
  await define(flow, [NEW, OLD]);
  assert.equal((await ended(await run(flow))).status, 'completed');
  await define(flow, [NEW]);
  endpoint = serveSteps([flow], { secret: [OLD, NEW] });
  assert.equal((await ended(await run(flow))).status, 'completed');
  await define(flow, []);
  assert.equal((await ended(await run(flow))).status, 'failed');
  endpoint = serveSteps([flow], { secret: false });
  assert.equal((await ended(await run(flow))).status, 'completed');
});

test('signatures are those of Standard Webhooks', async () => {
  const flow = new Flow({ slug: 'vector' }).http({ slug: 's', target: base }, () => 1);
  const body = '{"test": 2432232314}';
  const headers = { 'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek', 'webhook-timestamp': '1614265330' };
  const right = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=';
  const ask = async (tolerance: number, changes: Record<string, string> = {}, text = body, method = 'POST') => {
    const handler = serveSteps([flow], { secret: OLD, tolerance });
    const request = new Request(base, { method, headers: { ...headers, 'webhook-signature': right, ...changes }, ...(method === 'GET' ? {} : { body: text }) });
    return (await handler(request)).status;
  };
  // Signed rightly; it is no task.
  assert.equal(await ask(Infinity), 400);
  assert.equal(await ask(300), 401);
  assert.equal(await ask(Infinity, {}, `${body} `), 401);
  assert.equal(await ask(Infinity, { 'webhook-id': 'msg_other' }), 401);
  assert.equal(await ask(Infinity, { 'webhook-timestamp': '1614265331' }), 401);
  assert.equal(await ask(Infinity, { 'webhook-timestamp': 'NaN' }), 401);
  assert.equal(await ask(Infinity, { 'webhook-signature': '' }), 401);
  assert.equal(await ask(Infinity, { 'webhook-signature': `v1,AAAA v2,x v1 ${right}` }), 400);
  assert.equal(await ask(Infinity, { 'webhook-signature': right.replace('v1,', 'v1a,') }), 401);
  assert.equal(await ask(Infinity, {}, '', 'GET'), 405);
  for (const secret of ['', 'hunter2', 'whsec_AAAA', `whsec_${'é'.repeat(32)}`, []]) {
    assert.throws(() => serveSteps([flow], { secret }), TypeError);
  }
  assert.throws(() => serveSteps([flow], {} as { secret: string }), /secret/);
  assert.throws(() => serveSteps([new Flow({ slug: 'x' }).step({ slug: 's' }, () => 1)], { secret: OLD }), /none of these flows/);
});

test('a body is read when it may be signed, and not when it is too large', async () => {
  const flow = new Flow({ slug: 'bodies' }).http({ slug: 's', target: base }, () => 1);
  const megabyte = new Uint8Array(1_000_000);
  const ask = async (headers: Record<string, string>, secret: string | false = OLD) => {
    let pulled = 0;
    const body = new ReadableStream({ pull: (stream) => (++pulled > 200 ? stream.close() : stream.enqueue(megabyte)) }, { highWaterMark: 0 });
    const { status } = await serveSteps([flow], { secret })(new Request(base, { method: 'POST', headers, body, duplex: 'half' } as RequestInit));
    return { status, pulled };
  };
  const stamp = { 'webhook-id': 'x', 'webhook-signature': 'v1,AAAA', 'webhook-timestamp': String(Math.floor(Date.now() / 1_000)) };
  assert.deepEqual(await ask({}), { status: 401, pulled: 0 });
  assert.deepEqual(await ask({ ...stamp, 'webhook-timestamp': '1614265330' }), { status: 401, pulled: 0 });
  assert.deepEqual(await ask({ ...stamp, 'content-length': '16000001' }), { status: 413, pulled: 0 });
  assert.deepEqual(await ask(stamp), { status: 413, pulled: 17 });
  assert.deepEqual(await ask({}, false), { status: 413, pulled: 17 });
  // In Node as well: it is told, and the rest is not kept.
  endpoint = serveSteps([flow], { secret: OLD });
  const send = (megabytes: number, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; connection: string | undefined }>((resolve, reject) => {
      const asked = httpRequest(base, { method: 'POST', headers: { ...headers, 'transfer-encoding': 'chunked' } }, (response) => {
        response.resume();
        resolve({ status: response.statusCode!, connection: response.headers.connection });
      });
      asked.on('error', reject);
      const write = (left: number): void => {
        if (left === 0) asked.end();
        else asked.write(megabyte, () => write(left - 1));
      };
      write(megabytes);
    });
  assert.deepEqual(await send(3), { status: 401, connection: 'keep-alive' });
  assert.deepEqual(await send(3, stamp), { status: 401, connection: 'keep-alive' });
  assert.deepEqual(await send(18, stamp), { status: 413, connection: 'keep-alive' });
  // Whether the answer or the end of the connection is seen first is chance.
  const refused = await send(200).catch(({ code }) => code as string);
  if (typeof refused === 'string') assert.match(refused, /^(ECONNRESET|EPIPE)$/);
  else assert.deepEqual(refused, { status: 401, connection: 'close' });
});

test('a step that has no handler here fails, and says so', async () => {
  const flow = new Flow({ slug: 'unknown', executor: 'http', target: base }).http({ slug: 's' });
  const known = new Flow({ slug: 'known', executor: 'http', target: base }).http({ slug: 's' }, () => 1);
  await define(flow);
  endpoint = serveSteps([known], { secret: OLD });
  const { status, error_message } = await ended(await run(flow));
  assert.equal(status, 'failed');
  assert.match(error_message!, /^HTTP 404 .*\\?"unknown\\?", step/);
});

test('a task may be settled later, also by another process', async () => {
  let task: LaterTask | undefined;
  const flow = new Flow({ slug: 'later', executor: 'http', target: base, input: type<string>() }).http({ slug: 's', output: type<string>() }, ((_: unknown, context: StepContext) => {
    task = later(context);
    return 'does not count';
  }) as never);
  await define(flow);
  endpoint = serveSteps([flow], { secret: OLD, connection: cluster.url() });
  const settle = async (how: (task: LaterTask) => Promise<boolean>) => {
    task = undefined;
    const runId = await run(flow, 'x');
    const found = await eventually(async () => task, (seen) => seen !== undefined);
    await sleep(100);
    assert.equal((await attempts(runId))[0].status, 'started');
    assert.equal(await how(found!), true);
    return ended(runId);
  };
  assert.deepEqual((await settle((found) => found.complete('done'))).output, { s: 'done' });
  assert.match((await settle((found) => found.fail(new NonRetryableError('no')))).error_message!, /^NonRetryableError: no/);
  assert.deepEqual((await settle(async ({ runId, stepSlug, taskIndex, lease }) => {
    const elsewhere = await laterTask({ runId, stepSlug, taskIndex, lease }, cluster.url());
    assert.equal(await elsewhere.extend(60), true);
    const accepted = await elsewhere.complete('elsewhere');
    assert.equal(await elsewhere.complete('again'), false);
    await elsewhere.close();
    return accepted;
  })).output, { s: 'elsewhere' });
  // Without a connection it is an error of the handler.
  endpoint = serveSteps([flow], { secret: OLD, ...quiet });
  const failing = await run(flow, 'x');
  const [first] = await eventually(() => attempts(failing), ([one]) => one.status === 'failed');
  assert.match(first.error_message, /later\(\) needs serveSteps to have a connection/);
  await cluster.rows('select pgflow.cancel_run($1)', [failing]);
});

test('what comes back from elsewhere names one task, with its lease', async () => {
  const flow = new Flow({ slug: 'pay' }).external({ slug: 'approve' });
  await cluster.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  const runId = await run(flow);
  const right = { runId, stepSlug: 'approve', taskIndex: 0, lease: 1 };
  const smuggled = (start: string) => `${start}","task_index":0,"output":1},{"run_id":"${runId}","step_slug":"approve`;
  for (const wrong of [
    null, 'approve', {}, { ...right, lease: null }, { ...right, lease: undefined }, { ...right, lease: 'null' }, { ...right, lease: 1.5 }, { ...right, lease: '1' },
    { ...right, taskIndex: '0' }, { ...right, taskIndex: -1 }, { ...right, taskIndex: 2 ** 60 }, { ...right, taskIndex: '0,"lease":null,"x":0' },
    { ...right, stepSlug: smuggled('nix') }, { ...right, stepSlug: '' }, { ...right, stepSlug: 'approve\n' }, { ...right, stepSlug: ['approve'] },
    { ...right, runId: smuggled(runId) }, { ...right, runId: 'x' }, { ...right, runId: undefined },
  ]) {
    await assert.rejects(laterTask(wrong as never, cluster.url()).then((task) => task.complete(1)), TypeError, JSON.stringify(wrong));
  }
  // A task that `later` gave is not looked at, but cannot be more than one either.
  for (const ref of [{ ...right, stepSlug: smuggled('nix') }, { ...right, lease: 'null}' }, { ...right, lease: undefined }]) {
    const text = resultText(ref as never, { status: 'completed', output: '1' });
    const read = (): unknown => JSON.parse(`[${text}]`);
    if (ref.lease === 1) assert.equal((read() as unknown[]).length, 1);
    else assert.throws(read, SyntaxError);
  }
  assert.deepEqual(await cluster.rows('select status from pgflow.step_states where run_id = $1', [runId]), [{ status: 'started' }]);
  // Operators may.
  const task = await laterTask({ runId, stepSlug: 'approve', taskIndex: 0 }, cluster.url(), { withoutLease: true });
  assert.equal(await task.complete({ by: 'boss' }), true);
  await task.close();
  assert.deepEqual((await ended(runId)).output, { approve: { by: 'boss' } });
});

test('an outcome is handed over until it is taken, whatever the gateway says meanwhile', async () => {
  const says = (status: number, body: unknown) => () => Response.json(body, { status });
  const nay: (() => Response)[] = [
    says(401, { code: 'PGRST301', message: 'JWT expired' }), says(404, { code: 'PGRST202', message: 'not in the schema cache' }),
    says(403, { code: '42501', message: 'permission denied' }), () => new Response('<html>maintenance</html>'), () => new Response('bad gateway', { status: 502 }),
  ];
  const settled: any[] = [];
  const door = (answers: (() => Response)[]) => ({
    url: 'http://nowhere',
    fetch: (async (_: unknown, init: RequestInit) => {
      const refused = answers.shift();
      if (refused !== undefined) return refused();
      settled.push(...JSON.parse(init.body as string).results);
      return Response.json([{ accepted: true }]);
    }) as typeof fetch,
  });
  const ref = { runId: '01900000-0000-7000-8000-000000000001', stepSlug: 's', taskIndex: 0, lease: 1 };
  const task = await laterTask(ref, door([...nay]));
  assert.equal(await task.complete('precious'), true);
  assert.deepEqual(settled.splice(0).map(({ output }) => output), ['precious']);
  for (const refusal of [says(400, { code: '22P05', message: 'no such character' }), says(400, { code: '54000', message: 'too large' }), () => new Response('too large', { status: 413 })]) {
    assert.equal(await (await laterTask(ref, door([refusal]))).complete('x'), true);
    assert.match(settled.pop().error_message, /^the output cannot be stored: /);
  }
  await assert.rejects((await laterTask(ref, door([says(400, { code: '22023', message: 'no' })]))).fail('x'), { code: '22023' });
  // Not longer than the lease lasts, nor after it was closed.
  const denied = Array.from({ length: 50 }, () => nay[2]!);
  const body = { run_id: ref.runId, flow_slug: 'given_up', step_slug: 's', task_index: 0, attempt: 1, input: { run: {} }, lease: 1, lease_expires_at: '' };
  const flow = new Flow({ slug: 'given_up', timeout: 1 }).http({ slug: 's', target: base }, () => 'x');
  const errors: any[] = [];
  let work: Promise<unknown> | undefined;
  const handler = serveSteps([flow], { secret: false, respondAsync: true, connection: door(denied), waitUntil: (one) => (work = one), onError: (error) => errors.push(error) });
  assert.equal((await handler(new Request(base, { method: 'POST', body: JSON.stringify(body) }))).status, 202);
  await work;
  assert.equal(errors[0]?.code, '42501');
  assert.ok(denied.length > 30 && denied.length < 48, `${denied.length}`);
  const closed = await laterTask(ref, door(denied));
  const waiting = closed.complete('x');
  waiting.catch(() => {});
  await sleep(300);
  await closed.close();
  await assert.rejects(waiting);
});

test('an onError that throws changes no answer', async () => {
  const flow = new Flow({ slug: 'teller', executor: 'http', target: base }).http({ slug: 's' }, () => {
    throw new NonRetryableError('gone');
  });
  const body = JSON.stringify({ run_id: '01900000-0000-7000-8000-000000000001', flow_slug: 'teller', step_slug: 's', task_index: 0, attempt: 1, input: {}, lease: 1, lease_expires_at: '' });
  const said = mock.method(console, 'error', () => {});
  for (const onError of [() => { throw new Error('no log'); }, async () => { throw new Error('no log'); }]) {
    const response = await serveSteps([flow], { secret: false, onError })(new Request(base, { method: 'POST', body }));
    assert.equal(response.status, 422);
    assert.match(await response.text(), /gone/);
  }
  await sleep(10);
  said.mock.restore();
  assert.equal(said.mock.callCount(), 2);
});

test('a long handler may answer at once, and keeps its lease', async () => {
  let reason: unknown;
  const kept: Promise<unknown>[] = [];
  const flow = new Flow({ slug: 'async', executor: 'http', target: base, input: type<string>(), timeout: 2, maxAttempts: 2, baseDelay: 0 }).http({ slug: 's' }, async ({ run: what }, { attempt, signal }) => {
    if (what === 'cancelled') {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      reason = signal.reason;
      return 0;
    }
    await sleep(what === 'long' ? 4_500 : 100);
    if (what === 'once' && attempt === 1) throw new Error('first');
    return attempt;
  });
  await define(flow);
  endpoint = serveSteps([flow], { secret: OLD, connection: cluster.url(), respondAsync: true, waitUntil: (work) => kept.push(work), ...quiet });
  const cancelled = await run(flow, 'cancelled');
  const [long, once] = [await run(flow, 'long'), await run(flow, 'once')];
  assert.deepEqual((await ended(once)).output, { s: 2 });
  assert.match((await attempts(once))[0].error_message, /^Error: first\n/);
  assert.deepEqual((await ended(long)).output, { s: 1 });
  await cluster.rows('select pgflow.cancel_run($1)', [cancelled]);
  await eventually(async () => reason, (seen) => seen !== undefined);
  assert.ok(reason instanceof LeaseLostError && reason.runStatus === 'cancelled');
  assert.equal(kept.length, 4);
  await Promise.all(kept);
});

test('a request that nobody waits for is done behind its answer', async () => {
  // As pg_net sends it.
  const flow = new Flow({ slug: 'rung', executor: 'http', target: base }).http({ slug: 's' }, () => 'rung');
  const ask = (handler: FetchHandler, runtime?: unknown) =>
    handler(
      new Request(base, {
        method: 'POST',
        headers: { prefer: 'respond-async' },
        body: JSON.stringify({ run_id: '01900000-0000-7000-8000-000000000001', flow_slug: 'rung', step_slug: 's', task_index: 0, attempt: 1, input: { run: {} }, lease: 1, lease_expires_at: '2026-01-01T00:00:00Z' }),
      }),
      {},
      runtime,
    );
  assert.equal((await ask(serveSteps([flow], { secret: false, ...quiet }))).status, 500);
  const kept: Promise<unknown>[] = [];
  // A run that is not there: what it settles is refused, and that is all.
  const handler = serveSteps([flow], { secret: false, connection: cluster.url() });
  assert.equal((await ask(handler, { waitUntil: (work: Promise<unknown>) => kept.push(work) })).status, 202);
  assert.equal(kept.length, 1);
  await Promise.all(kept);
});
