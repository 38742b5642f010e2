/** Workers and servers that are killed: nothing is lost, and nothing counts twice. */
import assert from 'node:assert/strict';
import { connect as connectSocket, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Flow, toDefinition, type } from '../src/index.js';
import { createWorker } from '../src/worker.js';
import { eventually, start } from './database.js';
import type { Running } from './database.js';
import { startCluster } from './worker-cluster.js';
import type { Cluster } from './worker-cluster.js';
import { TABLES, effects } from './worker-process.js';
import type { ProcessOptions } from './worker-process.js';

let cluster: Cluster;
let count = 0;
const processes = new Set<Running>();

before(() => {
  cluster = startCluster();
});
after(() => {
  for (const { process } of processes) process.kill('SIGKILL');
  cluster.remove();
});

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

interface World {
  name: string;
  url: string;
  rows(sql: string, values?: unknown[]): Promise<any[]>;
  spawn(options: Omit<ProcessOptions, 'url'>): Promise<Running>;
}

/** A database with the flow, and what may be done to it. */
async function world(): Promise<World> {
  const name = `world_${++count}`;
  await cluster.rows(`create database ${name}`);
  const rows = (sql: string, values: unknown[] = []) => cluster.rows(sql, values, name);
  await rows('create extension pgflow');
  await rows(TABLES);
  await rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(effects(async () => {})))]);
  const url = cluster.url(name);
  const spawn = async (options: Omit<ProcessOptions, 'url'>): Promise<Running> => {
    const script = fileURLToPath(new URL('worker-process.js', import.meta.url));
    const running = start(process.execPath, [script, JSON.stringify({ url, ...options })]);
    processes.add(running);
    void running.ended.then(() => processes.delete(running));
    return running;
  };
  return { name, url, rows, spawn };
}

async function startRuns({ rows }: World, runs: number, size: number): Promise<void> {
  await rows(`select pgflow.run_flows('effects', array(select jsonb_build_object('size', $2::int) from generate_series(1, $1)))`, [runs, size]);
}

/** Waits until all runs have ended. The server may be away meanwhile. */
async function allEnd({ rows }: World, milliseconds: number): Promise<void> {
  await eventually(
    () => rows(`select 1 from pgflow.runs where status not in ('completed', 'failed', 'cancelled') limit 1`).catch(() => ['the server is away']),
    (left) => left.length === 0,
    milliseconds,
  );
}

/** Each run is right, each task was completed once, and each left its effect. */
async function check({ rows }: World, runs: number, size: number): Promise<void> {
  const outputs = await rows(`select status, output from pgflow.runs`);
  assert.equal(outputs.length, runs);
  for (const run of outputs) assert.deepEqual(run, { status: 'completed', output: { total: size * (size - 1) } });
  const [tasks] = await rows(`select count(*)::int as completed, count(distinct (run_id, step_slug, task_index))::int as tasks
                              from pgflow.step_tasks where status = 'completed'`);
  assert.deepEqual(tasks, { completed: runs * (size + 2), tasks: runs * (size + 2) });
  const [done] = await rows(`
    select count(distinct e.key)::int as keys from effects e
    join pgflow.step_tasks t on e.key = t.run_id || '/' || t.step_slug || '/' || t.task_index and t.status = 'completed'`);
  assert.equal(done.keys, runs * (size + 2));
  assert.deepEqual(await rows('select * from pgflow.check_integrity()'), []);
}

test('10,000 tasks and three workers: each task is done exactly once', async (t) => {
  const here = await world();
  await startRuns(here, 100, 98);
  const workers = await Promise.all([1, 2, 3].map(() => here.spawn({ concurrency: 20 })));
  const begun = performance.now();
  await allEnd(here, 120_000);
  t.diagnostic(`${Math.round(10_000_000 / (performance.now() - begun))} tasks a second, effects included`);
  for (const { process } of workers) process.kill('SIGTERM');
  for (const worker of workers) assert.deepEqual((await worker.ended).status, 0);
  await check(here, 100, 98);
  const [all] = await here.rows('select count(*)::int as effects, count(distinct key)::int as keys from effects');
  assert.deepEqual(all, { effects: 10_000, keys: 10_000 });
});

test('10,000 tasks while workers and the server are killed: nothing is lost, nothing counts twice', async (t) => {
  const here = await world();
  await startRuns(here, 100, 98);
  const spawn = () => here.spawn({ concurrency: 10, leaseSeconds: 2, taskMs: 5 });
  const workers = await Promise.all([spawn(), spawn(), spawn()]);
  const isOver = async () => (await here.rows(`select 1 from pgflow.runs where status = 'started' limit 1`)).length === 0;
  let kills = 0;
  let crashes = 0;
  for (let round = 0; round < 12 && !(await isOver()); round++) {
    await sleep(200 + 500 * Math.random());
    if (round % 4 === 3) {
      cluster.crash();
      await sleep(500 * Math.random());
      cluster.start();
      crashes++;
      continue;
    }
    const victim = Math.floor(Math.random() * workers.length);
    workers[victim]!.process.kill('SIGKILL');
    workers[victim] = await spawn();
    kills++;
  }
  await allEnd(here, 180_000);
  // The last one may have begun just now, and does not listen to signals before it has started.
  await Promise.all(workers.map((worker) => worker.sees(/started/)));
  for (const { process } of workers) process.kill('SIGTERM');
  for (const worker of workers) assert.equal((await worker.ended).status, 0, worker.said.stderr);
  await check(here, 100, 98);
  const [again] = await here.rows(`select count(*)::int as n from pgflow.step_tasks where status = 'expired'`);
  t.diagnostic(`${kills} workers and ${crashes} servers were killed; ${again.n} leases ran out`);
  assert.ok(kills >= 3, `${kills} kills`);
});

test('SIGTERM in the middle of a batch: nothing is done twice, and no lease has to run out', async () => {
  const here = await world();
  await startRuns(here, 4, 60);
  const worker = await here.spawn({ concurrency: 5, taskMs: 40 });
  await eventually(() => here.rows('select count(*)::int as n from effects'), ([row]) => row.n >= 30);
  worker.process.kill('SIGTERM');
  const { status, stdout } = await worker.ended;
  assert.equal(status, 0);
  assert.match(stdout, /stopped/);
  const left = await here.rows(`select distinct status from pgflow.step_tasks order by 1`);
  assert.deepEqual(left.map((row) => row.status), ['completed', 'queued']);
  const next = await here.spawn({ concurrency: 50 });
  await allEnd(here, 30_000);
  next.process.kill('SIGINT');
  assert.equal((await next.ended).status, 0);
  await check(here, 4, 60);
  const [all] = await here.rows('select count(*)::int as effects, max(attempt) as attempts from effects');
  assert.deepEqual(all, { effects: 248, attempts: 1 });
});

test('results that come while the server is away are handed over when it is back', async () => {
  const here = await world();
  for (const [timeout, away] of [[30, 1_000], [1, 3_000]] as const) {
    const flow = new Flow({ slug: `away_${timeout}`, input: type<number[]>(), timeout }).map({ slug: 'm' }, async ({ item }) => {
      await sleep(800);
      return item;
    });
    await here.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
    const worker = createWorker({ connection: here.url, flows: [flow], concurrency: 20, logger: false });
    await worker.start();
    const [{ id }] = await here.rows('select pgflow.run_flow($1, $2::jsonb) as id', [flow.slug, JSON.stringify([...Array(20).keys()])]);
    await eventually(() => here.rows(`select count(*)::int as n from pgflow.step_tasks where run_id = $1 and status = 'started'`, [id]), ([row]) => row.n === 20);
    cluster.crash();
    await sleep(away);
    cluster.start();
    await allEnd(here, 30_000);
    await worker.stop();
    // Also when their leases ran out meanwhile: nobody else has taken the tasks.
    const all = await here.rows(`select attempt, status, count(*)::int from pgflow.step_tasks where run_id = $1 group by 1, 2`, [id]);
    assert.deepEqual(all, [{ attempt: 1, status: 'completed', count: 20 }], `timeout ${timeout}`);
  }
});

test('an answer that was lost costs nothing but time', async () => {
  const here = await world();
  // Between worker and server: what the server answers can be swallowed.
  let swallow = false;
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const server = connectSocket(`${cluster.folder}/.s.PGSQL.5432`);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        server.destroy();
      });
    }
    client.pipe(server);
    server.on('data', (data) => {
      if (swallow) client.destroy();
      else client.write(data);
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;

  const done: string[] = [];
  const flow = new Flow({ slug: 'lost', input: type<number[]>(), timeout: 2, maxAttempts: 10, baseDelay: 0 }).map({ slug: 'm' }, async ({ item }, { idempotencyKey }) => {
    await sleep(60);
    done.push(idempotencyKey);
    return item;
  });
  await here.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  const worker = createWorker({ connection: `postgresql://postgres@127.0.0.1:${port}/${here.name}`, flows: [flow], concurrency: 4, logger: false, pollInterval: 200 });
  await worker.start();
  const [{ id }] = await here.rows('select pgflow.run_flow($1, $2::jsonb) as id', [flow.slug, JSON.stringify([...Array(100).keys()])]);
  for (let times = 0; times < 3; times++) {
    const before = done.length;
    await eventually(async () => done.length, (length) => length > before + 8);
    swallow = true;
    await sleep(100);
    swallow = false;
  }
  await allEnd(here, 60_000);
  await worker.stop();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => proxy.close(resolve));
  const [run] = await here.rows('select status, output from pgflow.runs where run_id = $1', [id]);
  assert.deepEqual(run, { status: 'completed', output: { m: [...Array(100).keys()] } });
  const [tasks] = await here.rows(`select count(*)::int as n from pgflow.step_tasks where run_id = $1 and status = 'completed'`, [id]);
  assert.equal(tasks.n, 100);
  // Tasks that were claimed by calls whose answers were lost came back when their leases ran out.
  const [expired] = await here.rows(`select count(*)::int as n from pgflow.step_tasks where run_id = $1 and status = 'expired'`, [id]);
  assert.ok(expired.n > 0 && expired.n <= 12, `${expired.n} expired`);
  assert.deepEqual(await here.rows('select * from pgflow.check_integrity()'), []);
});

test('results that come while a pooler has lost the server are handed over when it is back', async () => {
  const here = await world();
  // As a pooler does it: an error of its own, which is not one of connections, and the end.
  const fields = Buffer.from('SFATAL\0VFATAL\0CXX000\0MTenant or user not found\0\0');
  const head = Buffer.alloc(5);
  head[0] = 0x45;
  head.writeInt32BE(fields.length + 4, 1);
  const refusal = Buffer.concat([head, fields]);
  let isAway = false;
  const pairs = new Set<[Socket, Socket]>();
  const proxy = createServer((client) => {
    client.on('error', () => {});
    if (isAway) return void client.once('data', () => client.end(refusal));
    const server = connectSocket(`${cluster.folder}/.s.PGSQL.5432`);
    server.on('error', () => {});
    client.pipe(server);
    server.pipe(client);
    const pair: [Socket, Socket] = [client, server];
    pairs.add(pair);
    client.on('close', () => {
      pairs.delete(pair);
      server.destroy();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  let calls = 0;
  const flow = new Flow({ slug: 'pooled', input: type<number[]>(), timeout: 30 }).map({ slug: 'm' }, async ({ item }) => {
    calls++;
    await sleep(800);
    return item;
  });
  await here.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  for (const listen of [true, false]) {
    calls = 0;
    const worker = createWorker({ connection: `postgresql://postgres@127.0.0.1:${port}/${here.name}`, listen, flows: [flow], concurrency: 20, logger: false, pollInterval: 200 });
    await worker.start();
    const [{ id }] = await here.rows('select pgflow.run_flow($1, $2::jsonb) as id', [flow.slug, JSON.stringify([...Array(20).keys()])]);
    await eventually(async () => calls, (all) => all === 20);
    isAway = true;
    for (const [client, server] of pairs) {
      server.unpipe(client);
      client.end(refusal);
    }
    await sleep(2_500);
    isAway = false;
    await allEnd(here, 15_000);
    await worker.stop();
    const all = await here.rows(`select attempt, status, count(*)::int from pgflow.step_tasks where run_id = $1 group by 1, 2`, [id]);
    assert.deepEqual(all, [{ attempt: 1, status: 'completed', count: 20 }], `listen ${listen}`);
    assert.equal(calls, 20);
  }
  await new Promise((resolve) => proxy.close(resolve));
});

test('a worker starts when the server comes, and stops while it is away', async () => {
  const here = await world();
  let release!: () => void;
  const flow = new Flow({ slug: 'comes_and_goes', input: type<number[]>(), timeout: 1 }).map({ slug: 'm' }, async ({ item }, { attempt }) => {
    if (attempt === 1) await new Promise<void>((resolve) => (release = resolve));
    return item * 10 + attempt;
  });
  await here.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
  const [{ id }] = await here.rows(`select pgflow.run_flow('comes_and_goes', '[4]') as id`);
  cluster.crash();
  const warnings: string[] = [];
  const logger = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
  const worker = createWorker({ connection: here.url, flows: [flow], logger });
  const started = worker.start();
  await eventually(async () => warnings.length, (length) => length > 0);
  cluster.start();
  await started;
  await eventually(async () => release, (it) => it !== undefined);
  cluster.crash();
  release();
  await sleep(100);
  const begun = performance.now();
  await worker.stop({ timeout: 300 });
  assert.ok(performance.now() - begun < 4_000, `${performance.now() - begun} ms`);
  assert.ok(warnings.some((text) => /results could not be handed over/.test(text)), warnings.join('\n'));
  cluster.start();
  const next = createWorker({ connection: here.url, flows: [flow], logger: false });
  await next.start();
  await allEnd(here, 30_000);
  await next.stop();
  assert.deepEqual((await here.rows('select output from pgflow.runs where run_id = $1', [id]))[0].output, { m: [42] });
});
