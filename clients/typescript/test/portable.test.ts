/** The package does the same in Node, Deno and Bun. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toDefinition } from '../src/index.js';
import { liveBinary, prepareRoles, startLive, startPostgrest, token } from './client-door.js';
import { start } from './database.js';
import { portableFlows } from './portable-process.js';
import type { PortableOptions } from './portable-process.js';
import { startCluster } from './worker-cluster.js';
import type { Cluster } from './worker-cluster.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const script = fileURLToPath(new URL('portable-process.js', import.meta.url));
const modules = join(dirname(createRequire(import.meta.url).resolve('pg/package.json')), '..');

describe('one program', () => {
  let cluster: Cluster;
  let door: { url: string; close(): Promise<void> };
  let options: PortableOptions;

  before(async () => {
    cluster = startCluster('shared_preload_libraries=pgflow', `pgflow.http_allowed_hosts='127.0.0.1'`);
    await cluster.rows('create extension pgflow');
    const rows = (sql: string, values?: unknown[]) => cluster.rows(sql, values);
    const database = { name: 'postgres', url: cluster.url(), rows, psql: () => '', drop: async () => {} };
    await prepareRoles(database);
    const free = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => free.once('listening', resolve));
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    for (const flow of Object.values(portableFlows(port))) {
      await rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(flow))]);
      await rows(`select pgflow.set_realtime($1), pgflow.grant_run($1, 'member')`, [flow.slug]);
    }
    await rows(`select pgflow.grant_queue('remote', 'staff'), pgflow.set_http_secrets(array[$1], 'mixed')`, [SECRET]);
    door = liveBinary === undefined ? await startPostgrest(database) : await startLive({ host: cluster.folder, database: 'postgres' });
    options = { url: cluster.url(), door: door.url, userToken: token('ann'), workerToken: token('w', 'staff'), port, secret: SECRET };
  });
  after(async () => {
    await door?.close();
    cluster?.remove();
  });

  const commands = {
    node: [process.execPath],
    deno: [process.env['PGFLOW_DENO'] ?? 'deno', 'run', '--quiet', '--allow-all', '--node-modules-dir=manual', '--no-lock'],
    // Its package would put this into its place by a script; installing runs none.
    bun: [join(modules, '@oven', `bun-${process.platform}-${process.arch}`, 'bin', 'bun'), 'run'],
  };
  for (const [runtime, [command, ...args]] of Object.entries(commands)) {
    const isThere = spawnSync(command!, ['--version']).status === 0;
    test(`runs on ${runtime}`, { skip: !isThere && `there is no ${runtime} for this machine` }, async () => {
      const { status, stdout, stderr } = await start(command!, [...args, script, JSON.stringify(options)], { cwd: dirname(script) }).ended;
      assert.equal(status, 0, stderr);
      assert.deepEqual(JSON.parse(stdout), {
        runtime,
        outputs: [{ shout: 'HELLO ANN' }, { double: [2, 4, 6] }],
        told: ['greet started', 'greet completed', 'shout started', 'shout completed'],
      });
    });
  }
});
