/** The client against pgflow-live, which tells changes as they happen. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RealtimeClient } from '@supabase/realtime-js';
import { WebSocket } from 'ws';
import { RunFailedError, createClient } from '../src/client.js';
import type { Client, RunHandle, SupabaseLike } from '../src/client.js';
import { Flow, toDefinition, type } from '../src/index.js';
import { createWorker } from '../src/worker.js';
import type { Worker } from '../src/worker.js';
import { liveBinary, prepareRoles, startLive, token } from './client-door.js';
import type { LiveDoor } from './client-door.js';
import { createDatabase, eventually } from './database.js';
import type { TestDatabase } from './database.js';

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const moving = new Flow({ slug: 'moving', input: type<{ ms: number; size?: number; fail?: boolean }>(), maxAttempts: 1 })
  .step({ slug: 'first' }, async ({ run }) => {
    await sleep(run.ms);
    return [1, 2, 3];
  })
  .map({ slug: 'each', dependsOn: ['first'] }, async ({ item }) => item * 10)
  .step({ slug: 'big', dependsOn: ['each'] }, async ({ run }) => {
    await sleep(run.ms);
    if (run.fail === true) throw new Error('no paper');
    return 'x'.repeat(run.size ?? 1);
  })
  .step({ slug: 'last', dependsOn: ['big'] }, async ({ run, big }) => {
    await sleep(run.ms);
    return big.length;
  });

const EVERYTHING = [
  'run started', 'first started', 'first completed', 'each started', 'each completed', 'big started', 'big completed', 'last started',
  'last completed', 'run completed',
];

/** Notes what a handle tells. */
function listen(handle: RunHandle<any>): string[] {
  const told: string[] = [];
  handle.on('run', ({ status }) => told.push(`run ${status}`));
  handle.on('step', ({ slug, status }) => told.push(`${slug} ${status}`));
  return told;
}

describe('with pgflow-live', { skip: liveBinary === undefined && 'PGFLOW_LIVE names no binary' }, () => {
  let db: TestDatabase;
  let live: LiveDoor;
  let worker: Worker;
  let client: Client<{ moving: typeof moving }>;
  let reads = 0;

  /** Counts readings of the state. */
  const counting: typeof fetch = (input, init) => {
    if (String(input).endsWith('/rpc/get_run')) reads++;
    return fetch(input, init);
  };

  before(async () => {
    db = await createDatabase('live');
    await prepareRoles(db);
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(moving))]);
    await db.rows(`select pgflow.set_realtime('moving'), pgflow.grant_run('moving', 'member')`);
    live = await startLive({ host: process.env['PGHOST']!, database: db.name });
    client = createClient({ url: live.url, token: token('ann'), fetch: counting });
    worker = createWorker({ connection: db.url, flows: [moving], logger: false });
    await worker.start();
  });
  after(async () => {
    await worker?.stop();
    await live?.close();
    await db?.drop();
  });

  test('every change is told, once and in order, as it happens', async (t) => {
    reads = 0;
    const handle = await client.startFlow('moving', { ms: 300 });
    const told = listen(handle);
    const late: number[] = [];
    handle.on('step', (step) => late.push(Date.now() - Date.parse(step.finishedAt ?? step.startedAt!)));
    await handle.ready;
    assert.equal(handle.transport, 'realtime');
    assert.deepEqual(await handle.result, { last: 1 });
    assert.deepEqual(told, EVERYTHING);
    assert.deepEqual(handle.step('each')?.output, [10, 20, 30]);
    t.diagnostic(`told after ms: ${late.join(' ')}; ${reads} readings`);
    // The state came with the stream, and what is told needs no reading; one is a precaution.
    assert.ok(reads <= 2, `${reads} readings`);
  });

  test('triggerFlow is as quick as the run', async () => {
    await client.triggerFlow('moving', { ms: 0 });
    const begun = performance.now();
    assert.deepEqual(await client.triggerFlow('moving', { ms: 0 }), { last: 1 });
    assert.ok(performance.now() - begun < 1_500, `${performance.now() - begun} ms`);
  });

  test('a failure is told with its step', async () => {
    const handle = await client.startFlow('moving', { ms: 50, fail: true });
    const told = listen(handle);
    await assert.rejects(handle.result, (error) => error instanceof RunFailedError && error.message === 'step big: Error: no paper');
    assert.deepEqual(told, [...EVERYTHING.slice(0, 6), 'big failed', 'last cancelled', 'run failed']);
  });

  test('outputs that were left out of messages are read', async () => {
    const handle = await client.startFlow('moving', { ms: 100, size: 300_000 });
    const told = listen(handle);
    const outputs: unknown[] = [];
    handle.on('step', (step) => step.slug === 'big' && step.status === 'completed' && outputs.push(step.output));
    assert.deepEqual(await handle.result, { last: 300_000 });
    assert.deepEqual(told, EVERYTHING);
    assert.equal((outputs[0] as string).length, 300_000);
    assert.equal(outputs.length, 1);
  });

  test('nothing is missed while pgflow-live is away', async () => {
    const handle = await client.startFlow('moving', { ms: 900 });
    const told = listen(handle);
    await handle.ready;
    await live.restart(700);
    await eventually(async () => handle.transport, (transport) => transport === 'realtime', 3_000);
    assert.deepEqual(await handle.result, { last: 1 });
    assert.deepEqual(told, EVERYTHING);
  });

  test('a token that runs out is replaced, and the stream goes on', async () => {
    let asked = 0;
    const mine = createClient<{ moving: typeof moving }>({ url: live.url, getToken: () => token('ann', 'member', asked++ < 3 ? 2 : 60) });
    const handle = await mine.startFlow('moving', { ms: 1_500 });
    const told = listen(handle);
    assert.deepEqual(await handle.result, { last: 1 });
    assert.deepEqual(told, EVERYTHING);
    assert.ok(asked >= 4, `${asked} times`);
  });

  test('a run that is followed is shown again when it is retried', async () => {
    const flaky = new Flow({ slug: 'flaky', maxAttempts: 1 }).step({ slug: 'first' }, () => 1).step({ slug: 's', dependsOn: ['first'] }, async (_, { attempt }) => {
      await sleep(100);
      if (attempt === 1) throw new Error('not yet');
      return attempt;
    });
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flaky))]);
    await db.rows(`select pgflow.set_realtime('flaky'), pgflow.grant_run('flaky', 'member')`);
    const helper = createWorker({ connection: db.url, flows: [flaky], logger: false });
    await helper.start();
    const handle = await client.startFlow(flaky, {}, { follow: true });
    const told = listen(handle);
    await assert.rejects(handle.result, /not yet/);
    await db.rows('select pgflow.retry_run($1)', [handle.runId]);
    await eventually(async () => handle.status, (status) => status === 'completed', 5_000);
    assert.deepEqual(told.filter((one) => one !== 's pending'), [
      'run started', 'first started', 'first completed', 's started', 's failed', 'run failed', 'run started', 's started', 's completed', 'run completed',
    ]);
    await helper.stop();
  });

  test('a flow that is not published is shown all the same', async () => {
    await db.rows(`select pgflow.set_realtime('moving', false)`);
    const handle = await client.startFlow('moving', { ms: 400 });
    const told = listen(handle);
    assert.deepEqual(await handle.result, { last: 1 });
    assert.deepEqual(told, EVERYTHING);
    await db.rows(`select pgflow.set_realtime('moving')`);
  });

  test('nobody watches a run that he may not see', async () => {
    const runId = await client.runFlow('moving', { ms: 0 });
    await assert.rejects(createClient({ url: live.url, token: token('eve') }).watchRun(runId).ready, { code: 'PT404' });
    // Who is not known may be as soon as there is a token: a handle waits for that, a call does not.
    for (const stranger of [createClient({ url: live.url }), createClient({ url: live.url, token: 'no token' })]) {
      const handle = stranger.watchRun(runId);
      await assert.rejects(stranger.call('get_run', { run_id: runId }), { status: 401 });
      await sleep(500);
      assert.equal(handle.transport, 'connecting');
      assert.equal(handle.run, undefined);
      handle.close();
    }
  });

  test('many runs are watched at once, each to its end', async () => {
    const handles = await Promise.all(Array.from({ length: 25 }, () => client.startFlow('moving', { ms: 30 })));
    // Who asks late is told from the beginning.
    const told = handles.map(listen);
    for (const output of await Promise.all(handles.map(({ result }) => result))) assert.deepEqual(output, { last: 1 });
    for (const one of told) assert.deepEqual(one, EVERYTHING);
  });

  test('a channel of @supabase/realtime-js tells the same', async () => {
    const realtime = new RealtimeClient(`${live.url.replace('http', 'ws')}/realtime/v1`, {
      params: { apikey: 'none' },
      accessToken: async () => token('ann'),
      transport: WebSocket as never,
    });
    // What supabase-js puts together: functions over HTTP, channels over a socket.
    const supabase: SupabaseLike = {
      schema: () => ({
        rpc: async (name, args) => {
          try {
            return { data: await client.call(name, args as Record<string, unknown>), error: null };
          } catch (error) {
            const { message, code = '', status = 0 } = error as { message: string; code?: string; status?: number };
            return { data: null, error: { message, code }, status };
          }
        },
      }),
      channel: (topic, options) => realtime.channel(topic, options),
      removeChannel: (channel) => realtime.removeChannel(channel),
    };
    const mine = createClient<{ moving: typeof moving }>(supabase);
    reads = 0;
    const handle = await mine.startFlow('moving', { ms: 400 });
    const told = listen(handle);
    // A second one has the same channel.
    const second = mine.watchRun<typeof moving>(handle.runId);
    const toldSecond = listen(second);
    await handle.ready;
    await eventually(async () => [handle.transport, second.transport].join(), (both) => both === 'realtime,realtime', 3_000);
    assert.deepEqual(await handle.result, { last: 1 });
    await second.result;
    assert.deepEqual(told, EVERYTHING);
    assert.deepEqual(toldSecond, EVERYTHING);
    assert.ok(reads <= 8, `${reads} readings`);
    await eventually(async () => realtime.getChannels().length, (left) => left === 0);
    // React watches, leaves and watches again.
    const again = await mine.startFlow('moving', { ms: 300 });
    await sleep(100);
    again.close();
    const third = mine.watchRun<typeof moving>(again.runId);
    const toldThird = listen(third);
    await eventually(async () => third.transport, (transport) => transport === 'realtime', 3_000);
    await third.result;
    assert.deepEqual(toldThird, EVERYTHING);
    await realtime.disconnect();
  });

  test('a worker works through it', async () => {
    const flow = new Flow({ slug: 'through_live', input: type<number[]>() }).map({ slug: 'm' }, ({ item }) => item + 1);
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
    await db.rows(`select pgflow.grant_queue('through_live', 'staff')`);
    const remote = createWorker({ connection: { url: live.url, token: token('w', 'staff') }, flows: [flow], logger: false, pollInterval: 100 });
    await remote.start();
    const [{ id }] = await db.rows(`select pgflow.run_flow('through_live', '[1, 2, 3]') as id`);
    const [run] = await eventually(() => db.rows('select status, output from pgflow.runs where run_id = $1', [id]), ([row]) => row.status === 'completed');
    assert.deepEqual(run.output, { m: [2, 3, 4] });
    await remote.stop();
  });
});
