/** The client, and a worker over HTTP, through a stand-in for PostgREST: nobody tells of changes, so they ask. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createClient as createSupabase } from '@supabase/supabase-js';
import { WebSocket } from 'ws';
import { CallError, RunFailedError, createClient } from '../src/client.js';
import type { Client, StepInfo } from '../src/client.js';
import { Flow, toDefinition, type } from '../src/index.js';
import { LeaseLostError, NonRetryableError, createWorker } from '../src/worker.js';
import type { Worker } from '../src/worker.js';
import { prepareRoles, startPostgrest, token } from './client-door.js';
import type { Door } from './client-door.js';
import { createDatabase, eventually } from './database.js';
import type { TestDatabase } from './database.js';

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const report = new Flow({ slug: 'report', input: type<{ names: string[]; fail?: string; ms?: number }>(), maxAttempts: 1 })
  .step({ slug: 'list' }, async ({ run }) => {
    await sleep(run.ms ?? 0);
    if (run.fail === 'list') throw new NonRetryableError('there is no list');
    return run.names;
  })
  .map({ slug: 'greet', dependsOn: ['list'] }, ({ item }) => `hello ${item}`)
  .step({ slug: 'total', dependsOn: ['greet'] }, ({ greet }) => greet.length);
const approval = new Flow({ slug: 'approval' }).external({ slug: 'approve', output: type<{ by: string }>() });
const secret = new Flow({ slug: 'secret' }).step({ slug: 's' }, () => 1);

let db: TestDatabase;
let door: Door;
let worker: Worker;
let client: Client<{ report: typeof report; approval: typeof approval; secret: typeof secret }>;

before(async () => {
  db = await createDatabase('client');
  await prepareRoles(db);
  for (const flow of [report, approval, secret]) await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  await db.rows(`select pgflow.grant_run('report', 'member'), pgflow.grant_run('approval', 'member'), pgflow.grant_step('approval', 'approve', 'member')`);
  door = await startPostgrest(db);
  client = createClient({ url: door.url, token: token('ann') });
  worker = createWorker({ connection: db.url, flows: [report, secret], logger: false });
  await worker.start();
});
after(async () => {
  await worker?.stop();
  await door?.close();
  await db?.drop();
});

/** What an operator may do. */
const operator = () => createClient({ url: door.url, token: token('boss', 'staff') });

test('triggerFlow resolves with the output', async () => {
  const output = await client.triggerFlow('report', { names: ['ann', 'bob'] });
  assert.equal(output.total, 2);
  // By the flow itself as well.
  assert.equal((await client.triggerFlow(report, { names: [] })).total, 0);
});

test('triggerFlow rejects with the error of the step', async () => {
  await assert.rejects(client.triggerFlow('report', { names: [], fail: 'list' }), (error) => {
    assert.ok(error instanceof RunFailedError);
    assert.equal(error.message, 'step list: NonRetryableError: there is no list');
    assert.equal(error.step?.slug, 'list');
    assert.match(error.step?.errorMessage ?? '', /\n    at /);
    assert.equal(error.run.status, 'failed');
    assert.match(error.runId, /^[0-9a-f-]{36}$/);
    return true;
  });
});

test('what cannot be started is refused', async () => {
  const unknown = createClient({ url: door.url, token: token('ann') });
  await assert.rejects(unknown.triggerFlow('no_such_flow', {}), (error) => error instanceof CallError && error.code === 'PT404' && error.status === 404);
  await assert.rejects(client.triggerFlow('secret', {}), { code: '42501', status: 403 });
  await assert.rejects(createClient({ url: door.url }).triggerFlow('report', {}), { code: '42501', status: 401 });
  await assert.rejects(client.triggerFlow('report', null as never), { code: '22004', status: 400 });
});

test('triggerFlow stops waiting when its signal says so', async () => {
  const leave = new AbortController();
  const waiting = client.triggerFlow('approval', {}, { signal: leave.signal });
  setTimeout(() => leave.abort(new Error('enough')), 50);
  await assert.rejects(waiting, /enough/);
  await assert.rejects(client.triggerFlow('approval', {}, { signal: AbortSignal.abort(new Error('before')) }), /before/);
});

test('a handle shows the run while it moves', async () => {
  const handle = await client.startFlow('report', { names: ['x', 'y'], ms: 700 });
  assert.equal(handle.status, 'started');
  assert.equal(handle.transport, 'connecting');
  const told: string[] = [];
  const views: number[] = [];
  handle.on('run', (run) => told.push(`run ${run.status}`));
  const steps: StepInfo[] = [];
  handle.on('step', (step) => {
    told.push(`${step.slug} ${step.status}`);
    steps.push(step);
  });
  const forget = handle.on('change', (view) => views.push(view.steps.length));
  await handle.ready;
  assert.deepEqual(handle.steps.map(({ slug }) => slug), ['list', 'greet', 'total']);
  assert.deepEqual(handle.step('greet')?.dependsOn, ['list']);
  assert.equal(handle.step('list')?.status, 'started');
  assert.equal(handle.run?.flowSlug, 'report');
  assert.equal(handle.transport, 'polling');
  const { total } = await handle.result;
  assert.equal(total, 2);
  assert.equal(handle.status, 'completed');
  assert.equal(handle.transport, 'closed');
  assert.deepEqual(handle.step('greet')?.output, ['hello x', 'hello y']);
  assert.equal(handle.step('greet')?.completedTasks, 2);
  assert.deepEqual(told, [
    'run started', 'list started', 'list completed', 'greet started', 'greet completed', 'total started', 'total completed', 'run completed',
  ]);
  assert.deepEqual(steps.find(({ slug, status }) => slug === 'list' && status === 'completed')?.output, ['x', 'y']);
  assert.ok(views.length >= 2);
  forget();
  const { view } = handle;
  assert.equal(view.call(handle), handle.view());
});

test('a run that was started elsewhere, and one that is over, can be watched', async () => {
  const runId = await client.runFlow('report', { names: ['z'] }, { key: 'tenant-1' });
  const [one, two] = [client.watchRun<typeof report>(runId), client.watchRun<typeof report>(runId)];
  assert.deepEqual(await Promise.all([one.result, two.result]), [{ total: 1 }, { total: 1 }]);
  assert.equal(one.run?.key, 'tenant-1');
  const late = client.watchRun(runId);
  const told: string[] = [];
  late.on('step', ({ slug, status }) => told.push(`${slug} ${status}`));
  assert.deepEqual(await late.result, { total: 1 });
  assert.deepEqual(told.filter((text) => / completed/.test(text)), ['list completed', 'greet completed', 'total completed']);
});

test('nobody watches a run that he may not see', async () => {
  const runId = await client.runFlow('approval', {});
  for (const [who, id] of [[token('eve'), runId], [token('ann'), '01900000-0000-7000-8000-000000000001']] as const) {
    const handle = createClient({ url: door.url, token: who }).watchRun(id);
    await assert.rejects(handle.ready, { code: 'PT404' });
    await assert.rejects(handle.result, { code: 'PT404' });
    assert.equal((handle.view().error as CallError).code, 'PT404');
    assert.equal(handle.transport, 'closed');
  }
});

test('options of a run are handed on', async () => {
  const [one, two] = await Promise.all([1, 2].map(() => client.runFlow('report', { names: [] }, { idempotencyKey: 'once' })));
  assert.equal(one, two);
  const handle = await client.startFlow('report', { names: [] }, { startAt: new Date(Date.now() + 3_600_000), priority: 7 });
  assert.equal(handle.status, 'pending');
  await handle.ready;
  assert.equal(handle.status, 'pending');
  assert.equal(handle.step('list')?.status, 'started');
  const [row] = await db.rows('select priority, created_for from pgflow.runs where run_id = $1', [handle.runId]);
  assert.deepEqual(row, { priority: 7, created_for: 'ann' });
  handle.close();
  await assert.rejects(handle.result, /not watched any longer/);
});

test('cancelling is for who may, or by a function of yours', async () => {
  const handle = await client.startFlow('approval', {});
  await assert.rejects(handle.cancel(), { code: '42501' });
  await handle.ready;
  await operator().watchRun(handle.runId).cancel('changed our minds');
  await assert.rejects(handle.result, (error) => {
    assert.ok(error instanceof RunFailedError);
    assert.equal(error.message, 'the run was cancelled: changed our minds');
    assert.equal(error.step, undefined);
    return true;
  });
  const lent = createClient({ url: door.url, token: token('ann') }, { cancelRun: async (runId) => operator().call('cancel_run', { run_id: runId }) });
  const other = await lent.startFlow('approval', {});
  await other.cancel();
  assert.equal(other.status, 'cancelled');
});

test('a run that is followed is shown again when it is retried', async () => {
  await db.rows('create table if not exists is_mended (done boolean)');
  const flaky = new Flow({ slug: 'flaky', maxAttempts: 1 }).step({ slug: 'first' }, () => 1).step({ slug: 's', dependsOn: ['first'] }, async (_, { attempt }) => {
    if (attempt === 1) throw new Error('not yet');
    return attempt;
  });
  await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flaky))]);
  await db.rows(`select pgflow.grant_run('flaky', 'member')`);
  const helper = createWorker({ connection: db.url, flows: [flaky], logger: false });
  await helper.start();
  const handle = await client.startFlow(flaky, {}, { follow: true });
  const told: string[] = [];
  handle.on('run', ({ status }) => told.push(status));
  handle.on('step', ({ slug, status }) => slug === 'first' && told.push(`first ${status}`));
  await assert.rejects(handle.result, /step s: Error: not yet/);
  assert.equal(handle.status, 'failed');
  await operator().call('retry_run', { run_id: handle.runId });
  await eventually(async () => handle.status, (status) => status === 'completed');
  assert.deepEqual(handle.run?.output, { s: 2 });
  assert.deepEqual(told, ['started', 'first started', 'first completed', 'failed', 'started', 'completed']);
  assert.equal(handle.transport, 'closed');
  await helper.stop();
});

test('a token that ran out is asked for again, and a door that is away is waited for', async () => {
  let asked = 0;
  const mine = createClient<{ report: typeof report }>({ url: door.url, getToken: async () => token('ann', 'member', asked++ === 0 ? -1 : 60) });
  assert.equal((await mine.triggerFlow('report', { names: [] })).total, 0);
  assert.ok(asked >= 2);
  let away = true;
  const patient = createClient({
    url: door.url,
    token: token('ann'),
    fetch: async (input, init) => {
      if (away && String(input).endsWith('get_run')) throw new TypeError('fetch failed');
      return fetch(input, init);
    },
  });
  const handle = await patient.startFlow('report', { names: [] });
  await sleep(600);
  assert.equal(handle.run, undefined);
  away = false;
  assert.deepEqual(await handle.result, { total: 0 });
});

test('the client of Supabase is one too', async () => {
  const gate = await startPostgrest(db, '/rest/v1');
  const supabase = createSupabase(gate.url.replace('/rest/v1', ''), 'anon-key', { accessToken: async () => token('ann'), realtime: { transport: WebSocket as never } });
  const mine = createClient<{ report: typeof report }>(supabase);
  // There is no channel: nobody answers the socket.
  assert.equal((await mine.triggerFlow('report', { names: ['a'] })).total, 1);
  await assert.rejects(mine.runFlow('report', null as never), { code: '22004', status: 400 });
  const handle = await mine.startFlow('report', { names: [], fail: 'list' });
  await assert.rejects(handle.result, RunFailedError);
  supabase.realtime.disconnect();
  await gate.close();
});

describe('a worker over HTTP', () => {
  const connection = () => ({ url: door.url, token: token('w', 'staff') });

  test('does the same as any other, one request for each batch', async () => {
    const flow = new Flow({ slug: 'over_http', input: type<number[]>() })
      .map({ slug: 'double' }, ({ item }) => item * 2)
      .step({ slug: 'sum', dependsOn: ['double'] }, ({ double }) => double.reduce((sum, n) => sum + n, 0));
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
    await db.rows(`select pgflow.grant_queue('over_http', 'staff')`);
    const [{ id }] = await db.rows(`select pgflow.run_flow('over_http', (select jsonb_agg(n) from generate_series(1, 500) n)) as id`);
    const calls = door.calls.get('settle_and_claim') ?? 0;
    const remote = createWorker({ connection: connection(), flows: [flow], concurrency: 50, logger: false });
    await remote.start();
    const [run] = await eventually(() => db.rows('select status, output from pgflow.runs where run_id = $1', [id]), ([row]) => row.status === 'completed');
    assert.deepEqual(run.output, { sum: 250_500 });
    await remote.stop();
    const made = door.calls.get('settle_and_claim')! - calls;
    assert.ok(made <= 20, `${made} calls`);
  });

  test('keeps its leases, and learns that a run was cancelled', async () => {
    let reason: unknown;
    const flow = new Flow({ slug: 'long_http', input: type<boolean>(), timeout: 2 }).step({ slug: 's' }, async ({ run: isCancelled }, { signal, attempt }) => {
      if (!isCancelled) await sleep(4_500);
      else await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      reason = signal.reason;
      return attempt;
    });
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
    await db.rows(`select pgflow.grant_queue('long_http', 'staff')`);
    const remotes = [1, 2].map(() => createWorker({ connection: connection(), flows: [flow], logger: false, pollInterval: 100 }));
    await Promise.all(remotes.map((remote) => remote.start()));
    const [{ id }] = await db.rows(`select pgflow.run_flow('long_http', 'false') as id`);
    const [run] = await eventually(() => db.rows('select status, output from pgflow.runs where run_id = $1', [id]), ([row]) => row.status === 'completed');
    assert.deepEqual(run.output, { s: 1 });
    assert.equal(reason, undefined);
    const [{ id: other }] = await db.rows(`select pgflow.run_flow('long_http', 'true') as id`);
    await eventually(() => db.rows('select status from pgflow.step_tasks where run_id = $1', [other]), ([row]) => row.status === 'started');
    await db.rows('select pgflow.cancel_run($1)', [other]);
    await eventually(async () => reason, (seen) => seen instanceof LeaseLostError);
    await Promise.all(remotes.map((remote) => remote.stop()));
  });

  test('is refused where it may not work', async () => {
    const flow = new Flow({ slug: 'not_granted' }).step({ slug: 's' }, () => 1);
    const refused = createWorker({ connection: { url: door.url, token: token('ann') }, flows: [flow], logger: false });
    await assert.rejects(refused.start(), { code: '42501', status: 403 });
    const nowhere = createWorker({ connection: { url: `${door.url}/elsewhere`, token: token('ann') }, flows: [flow], logger: false });
    await assert.rejects(nowhere.start(), { status: 404 });
  });
});
