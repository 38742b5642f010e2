/**
 * The package under Deno: its types, the DSL, and the CLI with a worker, from a flow in TypeScript. Needs PGFLOW_DENO, the
 * program, which tests/typescript/run looks for.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createDatabase, start } from './database.js';
import type { Running, TestDatabase } from './database.js';

const deno = process.env['PGFLOW_DENO'];
const built = fileURLToPath(new URL('../..', import.meta.url));

describe('Deno', { skip: deno === undefined && 'PGFLOW_DENO is not set' }, () => {
  let database: TestDatabase;
  let project: string;

  before(async () => {
    database = await createDatabase('deno');
    project = mkdtempSync(join(tmpdir(), 'pgflow-deno-'));
    writeFileSync(join(project, 'package.json'), '{"type": "module"}');
    // As npm would install it, and beside it what it may need.
    const modules = join(project, 'node_modules');
    const installed = join(modules, '@pgflow-native', 'client');
    mkdirSync(installed, { recursive: true });
    cpSync(join(built, 'dist'), join(installed, 'dist'), { recursive: true });
    cpSync(join(built, 'package.json'), join(installed, 'package.json'));
    for (const name of readdirSync(join(built, 'node_modules'))) {
      if (!name.startsWith('.')) symlinkSync(join(built, 'node_modules', name), join(modules, name));
    }
    writeFileSync(join(project, 'greet.ts'), `
      import { Flow, toSql, type } from '@pgflow-native/client';
      import type { FlowOutput } from '@pgflow-native/client';

      interface Input { names: string[] }
      export const greet = new Flow({ slug: 'greet', input: type<Input>() })
        .step({ slug: 'guests' }, ({ run }) => run.names)
        .map({ slug: 'greeting', dependsOn: ['guests'] }, async ({ item }) => \`Hello, \${item} from Deno \${Deno.version.deno.length > 0}\`)
        .step({ slug: 'letter', dependsOn: ['greeting'] }, ({ greeting }) => greeting.join('; '));
      // @ts-expect-error a letter is a text
      export const wrong: FlowOutput<typeof greet> = { letter: 1 };
      if (import.meta.main) console.log(toSql(greet));
    `);
    writeFileSync(join(project, 'faulty.ts'), `
      import { Flow } from '@pgflow-native/client';
      export default new Flow<{ n: number }>({ slug: 'f' }).step({ slug: 'a' }, () => new Date());
    `);
  });
  after(async () => {
    rmSync(project, { recursive: true, force: true });
    await database.drop();
  });

  function run(...args: string[]): Running {
    const env = { ...process.env, DATABASE_URL: database.url, NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1', DENO_DIR: join(project, 'cache') };
    return start(deno as string, args, { cwd: project, env });
  }
  const pgflow = (...args: string[]) => run('run', '-A', '--node-modules-dir=manual', 'node_modules/@pgflow-native/client/dist/cli/main.js', ...args);

  test('checks the types', async () => {
    const right = await run('check', '--node-modules-dir=manual', 'greet.ts').ended;
    assert.equal(right.status, 0, right.stderr);
    const wrong = await run('check', '--node-modules-dir=manual', 'faulty.ts').ended;
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /a Date is not JSON/);
  });

  test('compiles a flow', async () => {
    const { stdout, stderr } = await run('run', '--node-modules-dir=manual', 'greet.ts').ended;
    assert.equal(database.psql(stdout), 'greet|1|t\n', stderr);
  });

  test('deploys a flow from TypeScript, works it and watches it', async () => {
    const deployed = await pgflow('deploy', 'greet.ts').ended;
    assert.equal(deployed.stdout, 'greet: version 1, unchanged\n', deployed.stderr);
    const worker = pgflow('worker', 'greet.ts', '--id', 'deno');
    try {
      await worker.sees(/worker deno serves greet/);
      const watched = await pgflow('run', 'greet', '{"names": ["Ann", "Bob"]}', '--watch').ended;
      assert.equal(watched.status, 0, watched.stderr + worker.said.stderr);
      assert.deepEqual(JSON.parse(watched.stdout), { letter: 'Hello, Ann from Deno true; Hello, Bob from Deno true' });
    } finally {
      worker.process.kill('SIGTERM');
    }
    assert.equal((await worker.ended).status, 0, worker.said.stderr);
  });
});
