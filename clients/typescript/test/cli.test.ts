/** The CLI as a process, against a server. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findTsx, loadsTypeScript } from '../src/cli/load.js';
import { createDatabase, eventually, start } from './database.js';
import type { Ended, Running, TestDatabase } from './database.js';

/** Where the package was built: tests run from dist-test in it. */
const built = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGE = '@pgflow-native/client';

let database: TestDatabase;
let project: string;

before(async () => {
  database = await createDatabase('cli');
  project = mkdtempSync(join(tmpdir(), 'pgflow-project-'));
  writeFileSync(join(project, 'package.json'), '{"type": "module"}');
  mkdirSync(join(project, 'node_modules', '@pgflow-native'), { recursive: true });
  symlinkSync(built, join(project, 'node_modules', ...PACKAGE.split('/')));
});
after(async () => {
  rmSync(project, { recursive: true, force: true });
  await database.drop();
});

function environment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { ...process.env, DATABASE_URL: database.url, NO_COLOR: '1', ...more };
}

/** Starts pgflow in the project. */
function pgflow(args: string[], more: Record<string, string> = {}): Running {
  return start(process.execPath, [join(built, 'dist', 'cli', 'main.js'), ...args], { cwd: project, env: environment(more) });
}

/** Runs it to its end, and checks how it ended. */
async function run(status: number, ...args: string[]): Promise<Ended> {
  const ended = await pgflow(args).ended;
  assert.equal(ended.status, status, `pgflow ${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
  return ended;
}

function write(name: string, text: string): string {
  writeFileSync(join(project, name), text);
  return name;
}

const CHAIN = `
import { Flow } from '${PACKAGE}';
export const chain = new Flow({ slug: 'chain' })
  .step({ slug: 'first' }, () => [1, 2])
  .map({ slug: 'each', dependsOn: ['first'] }, ({ item }) => item * 2)
  .step({ slug: 'last', dependsOn: ['each'], maxAttempts: 1 }, ({ each }) => each.length);
`;

/** Claims whatever is there and settles it, until told otherwise. */
async function work(queue: string, result: (task: { step_slug: string; input: any }) => object): Promise<void> {
  const tasks = await database.rows('SELECT * FROM pgflow.claim_step_tasks($1)', [queue]);
  if (tasks.length === 0) return;
  const results = tasks.map((task) => ({
    run_id: task.run_id, step_slug: task.step_slug, task_index: task.task_index, lease: Number(task.lease), ...result(task),
  }));
  await database.rows('SELECT * FROM pgflow.settle_step_tasks($1)', [JSON.stringify(results)]);
}

describe('calling it', () => {
  test('help says how, on standard output', async () => {
    const { stdout } = await run(0, '--help');
    for (const command of ['init', 'compile', 'diff', 'deploy', 'worker', 'run', 'runs', 'show', 'retry', 'cancel']) {
      assert.match(stdout, new RegExp(`^  ${command} +\\S`, 'm'));
      const help = await run(0, command, '--help');
      assert.match(help.stdout, new RegExp(`^Usage: pgflow ${command}\\b`));
      assert.match(help.stdout, /--json/);
      assert.equal((await run(0, 'help', command)).stdout, help.stdout);
    }
    assert.match(stdout, /Exit status:\n  0  /);
    assert.match((await run(0, '--version')).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('a call that makes no sense ends with status 2', async () => {
    assert.match((await run(2)).stderr, /Usage: pgflow/);
    assert.match((await run(2, 'explode')).stderr, /there is no command "explode"; there are init, compile/);
    assert.match((await run(2, 'runs', '--nonsense')).stderr, /--nonsense/);
    assert.match((await run(2, 'compile')).stderr, /missing: FILE/);
    assert.match((await run(2, 'show', 'a', 'b')).stderr, /what is "b"/);
    assert.match((await run(2, 'show', 'nonsense')).stderr, /"nonsense" is not the id of a run/);
    assert.match((await run(2, 'run', 'chain', '{name: 1}')).stderr, /the payload is not JSON/);
    assert.match((await run(2, 'run', 'chain', '--start-at', 'soon')).stderr, /is not a time/);
    assert.match((await run(2, 'runs', '--limit', 'x')).stderr, /--limit x is not a whole number/);
    assert.match((await run(2, 'runs', '--status', 'done')).stderr, /there is no status done/);
  });

  test('a database that cannot be reached ends it with status 3', async () => {
    const { stderr } = await run(3, 'runs', '-d', 'postgresql://127.0.0.1:1/nowhere');
    assert.match(stderr, /cannot connect to the database.*ECONNREFUSED/);
    assert.match(stderr, /--database postgres:/);
    assert.match((await run(3, 'runs', '-d', database.url.replace(database.name, 'nowhere'))).stderr, /"nowhere" does not exist/);
  });

  test('a database without pgflow is told to have none', async () => {
    const bare = await createDatabase('bare', false);
    try {
      for (const args of [['runs'], ['run', 'x']]) {
        assert.match((await run(1, ...args, '-d', bare.url)).stderr, /There is no pgflow in this database/);
      }
    } finally {
      await bare.drop();
    }
  });
});

describe('loading flows', () => {
  test('a file that is not there, fails, is faulty or has no flow', async () => {
    assert.match((await run(2, 'compile', 'nowhere.js')).stderr, /there is no file nowhere.js/);
    assert.match((await run(2, 'compile', write('none.mjs', 'export const x = 1;'))).stderr, /none.mjs exports no flow/);
    assert.match((await run(2, 'compile', write('throws.mjs', 'throw new Error("at midnight");'))).stderr, /throws.mjs cannot be loaded: .*at midnight/);
    const faulty = write('faulty.mjs', `import { Flow } from '${PACKAGE}'; export default new Flow({ slug: 'f' }).step({ slug: 'a', dependsOn: ['b'] });`);
    assert.match((await run(2, 'compile', faulty)).stderr, /faulty.mjs: flow "f", step "a": dependsOn: unknown dep "b"/);
    write('chain.mjs', CHAIN);
    write('again.mjs', `export { chain } from './chain.mjs'; import { Flow } from '${PACKAGE}'; export default [new Flow({ slug: 'other' })];`);
    assert.equal(JSON.parse((await run(0, 'compile', 'chain.mjs', 'again.mjs', '--json')).stdout).length, 2);
    write('clash.mjs', `import { Flow } from '${PACKAGE}'; export default new Flow({ slug: 'chain' });`);
    assert.match((await run(2, 'compile', 'chain.mjs', 'clash.mjs')).stderr, /two flows have the slug "chain", in chain.mjs and clash.mjs/);
  });

  test('TypeScript is loaded by this runtime, else by tsx, else it is said what to do', async () => {
    const file = write('typed.ts', `import { Flow, type } from '${PACKAGE}';
      interface Input { name: string }
      export const typed: unknown = new Flow({ slug: 'typed', input: type<Input>() }).step({ slug: 'a' }, ({ run }) => run.name as string);`);
    // Somebody may have it in a folder above.
    if (!loadsTypeScript() && findTsx(join(project, file), project) === undefined) {
      const { stderr } = await run(2, 'compile', file);
      assert.match(stderr, /does not load TypeScript by itself, and typed.ts is TypeScript/);
      assert.match(stderr, /npm install --save-dev tsx/);
      symlinkSync(join(built, 'node_modules', 'tsx'), join(project, 'node_modules', 'tsx'));
    }
    assert.match((await run(0, 'compile', file)).stdout, /"flow_slug": "typed"/);
    // A package may be one of CommonJS: a .mts file is a module all the same, and of others it is said what to do.
    mkdirSync(join(project, 'commonjs'));
    write('commonjs/package.json', '{"type": "commonjs"}');
    const text = readFileSync(join(project, file), 'utf8');
    assert.match((await run(0, 'compile', write('commonjs/typed.mts', text))).stdout, /"flow_slug": "typed"/);
    write('commonjs/typed.ts', text);
    if (loadsTypeScript()) {
      assert.match((await run(2, 'compile', 'commonjs/typed.ts')).stderr, /does not say "type": "module".*commonjs\/typed.mts/);
    } else {
      assert.match((await run(0, 'compile', 'commonjs/typed.ts')).stdout, /"flow_slug": "typed"/);
    }
    assert.match((await run(2, 'compile', write('commonjs/typed.js', CHAIN))).stderr, /does not say "type": "module".*commonjs\/typed.mjs/);
  });
});

describe('compile', () => {
  test('writes migrations once, in order, and psql applies them twice', async () => {
    write('chain.mjs', CHAIN);
    const first = await run(0, 'compile', 'chain.mjs', '--out', 'supabase/migrations');
    assert.match(first.stdout, /^chain: supabase\/migrations\/\d{14}_pgflow_chain.sql written\n$/);
    assert.match((await run(0, 'compile', 'chain.mjs', '--out', 'supabase/migrations')).stdout, /is up to date/);
    await run(0, 'compile', 'chain.mjs', '--out', 'supabase/migrations', '--check');

    write('changed.mjs', CHAIN.replace("slug: 'last'", "slug: 'last', timeout: 5"));
    assert.match((await run(1, 'compile', 'changed.mjs', '--out', 'supabase/migrations', '--check')).stdout, /would be written/);
    await run(0, 'compile', 'changed.mjs', '--out', 'supabase/migrations');
    const folder = join(project, 'supabase/migrations');
    const migrations = readdirSync(folder).sort();
    assert.equal(migrations.length, 2);
    // Going back is a change, too: the latest one counts.
    await run(0, 'compile', 'chain.mjs', '--out', 'supabase/migrations');
    assert.equal(readdirSync(folder).length, 3);

    const sql = migrations.map((name) => readFileSync(join(folder, name), 'utf8'));
    assert.deepEqual(sql.map((text) => database.psql(text)), ['chain|1|t\n', 'chain|1|t\n']);
    assert.equal(database.psql(sql[1]!), 'chain|1|f\n');
    assert.equal((await run(0, 'compile', 'changed.mjs')).stdout, sql[1]);
    await run(0, 'diff', 'changed.mjs');
  });
});

describe('diff and deploy', () => {
  const flow = (options: string, more = '') => `import { Flow } from '${PACKAGE}';
    export default new Flow({ slug: 'deployed'${options} }).step({ slug: 'a' }, () => 1)${more};`;

  test('what would change is shown, deployed, and no change any more', async () => {
    write('deployed.mjs', flow(''));
    assert.match((await run(1, 'diff', 'deployed.mjs')).stdout, /^deployed: is new\n  \+ \{"step_slug":"a"\}\n$/);
    assert.equal((await run(0, 'deploy', 'deployed.mjs')).stdout, 'deployed: version 1\n');
    assert.equal((await run(0, 'deploy', 'deployed.mjs')).stdout, 'deployed: version 1, unchanged\n');
    assert.equal((await run(0, 'diff', 'deployed.mjs')).stdout, 'deployed: is version 1, nothing to change\n');

    write('deployed.mjs', flow(', timeout: 5', ".step({ slug: 'b', dependsOn: ['a'] }, () => 1)"));
    const inPlace = await run(1, 'diff', 'deployed.mjs');
    assert.match(inPlace.stdout, /^deployed: version 1 would be changed in place\n  ~ timeout: 60 -> 5\n  \+ \{"step_slug":"b","deps_slugs":\["a"\]\}\n$/);
    await database.rows("SELECT pgflow.run_flow('deployed')");
    const [{ changed, version, next_version, changes }] = JSON.parse((await run(1, 'diff', 'deployed.mjs', '--json')).stdout);
    assert.deepEqual([changed, version, next_version, changes.length], [true, 1, 2, 2]);
    assert.deepEqual(JSON.parse((await run(0, 'deploy', 'deployed.mjs', '--json')).stdout), [{ flow_slug: 'deployed', version: 2, changed: true }]);
    await run(0, 'diff', 'deployed.mjs');

    // A description is no version.
    await database.rows("SELECT pgflow.run_flow('deployed')");
    write('described.mjs', flow(", timeout: 5, description: 'new'", ".step({ slug: 'b', dependsOn: ['a'] }, () => 1)"));
    assert.match((await run(1, 'diff', 'described.mjs')).stdout, /version 2 would be changed in place\n  ~ description: null -> "new"/);
    assert.equal((await run(0, 'deploy', 'described.mjs')).stdout, 'deployed: version 2\n');
  });

  test('all flows are deployed or none', async () => {
    write('two.mjs', `import { Flow } from '${PACKAGE}';
      export const good = new Flow({ slug: 'good' }).step({ slug: 'a' }, () => 1);
      export const bad = new Flow({ slug: 'worse' }).sql({ slug: 'a', target: 'public.nowhere' });`);
    const { stderr } = await run(1, 'deploy', 'two.mjs');
    assert.match(stderr, /\$\.steps\[0\]\.target/);
    assert.equal((await database.rows("SELECT FROM pgflow.flows WHERE flow_slug = 'good'")).length, 0);
  });
});

describe('runs', () => {
  before(async () => {
    write('chain.mjs', CHAIN);
    await run(0, 'deploy', 'chain.mjs');
  });

  test('run starts a run and prints its id', async () => {
    const id = (await run(0, 'run', 'chain', '{"n": 12345678901234567890}', '--key', 'k1', '--priority=-2', '--idempotency-key', 'i1')).stdout.trim();
    const [row] = await database.rows('SELECT payload::text, key, priority FROM pgflow.runs WHERE run_id = $1', [id]);
    assert.deepEqual(row, { payload: '{"n": 12345678901234567890}', key: 'k1', priority: -2 });
    assert.deepEqual(JSON.parse((await run(0, 'run', 'chain', '--idempotency-key', 'i1', '--json')).stdout), { run_id: id });
    await run(0, 'cancel', id);

    const piped = pgflow(['run', 'chain', '-', '--start-at', '2099-01-01T00:00:00Z']);
    piped.process.stdin.end('{"from": "standard input"}');
    const later = (await piped.ended).stdout.trim();
    assert.deepEqual(await database.rows('SELECT payload, status FROM pgflow.runs WHERE run_id = $1', [later]), [{ payload: { from: 'standard input' }, status: 'pending' }]);
    assert.match((await run(1, 'run', 'nowhere')).stderr, /flow not found\nThere is no flow "nowhere"/);
  });

  test('run --watch shows the steps and prints the output; status 0', async () => {
    const watching = pgflow(['run', 'chain', '--watch']);
    await watching.sees(/step first started/);
    await watching.sees(/no worker has taken first yet, from queue "chain"/);
    const done = eventually(async () => {
      await work('chain', ({ step_slug, input }) => ({ output: step_slug === 'first' ? [1, 2] : step_slug === 'each' ? input.item * 2 : input.each }));
      return watching.process.exitCode;
    }, (code) => code !== null);
    const { status, stdout, stderr } = await watching.ended;
    await done;
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(stdout), { last: [2, 4] });
    assert.match(stderr, /run [0-9a-f-]{36} of chain started/);
    assert.match(stderr, /step each completed\n[^]*step last completed\n[^]*run completed/);
  });

  test('a run that fails is told with its error; status 1; retry brings it back', async () => {
    const id = (await run(0, 'run', 'chain')).stdout.trim();
    const watching = pgflow(['show', id, '--watch']);
    let broken = true;
    const finish = eventually(async () => {
      await work('chain', ({ step_slug }) =>
        step_slug === 'last' && broken ? { error_message: 'the printer\nis on fire' } : { output: [1] });
      return watching.process.exitCode;
    }, (code) => code !== null);
    const failed = await watching.ended;
    await finish;
    assert.equal(failed.status, 1);
    assert.equal(failed.stdout, '');
    assert.match(failed.stderr, /step last failed: the printer is on fire\n/);

    const shown = await run(0, 'show', id);
    assert.match(shown.stdout, new RegExp(`^chain  ${id}  failed`));
    assert.match(shown.stdout, /✗  last +failed .*the printer is on fire/);
    assert.match(shown.stdout, /last\[0\] attempt 1 failed: the printer is on fire/);
    assert.equal(JSON.parse((await run(0, 'show', id, '--json')).stdout).run.status, 'failed');

    broken = false;
    assert.equal((await run(0, 'retry', id)).stdout, `${id}: started\n`);
    assert.match((await run(1, 'retry', id)).stderr, /run is neither failed nor cancelled/);
    await eventually(async () => {
      await work('chain', () => ({ output: 'fine' }));
      return (await database.rows('SELECT status FROM pgflow.runs WHERE run_id = $1', [id]))[0].status;
    }, (status) => status === 'completed');
    const whole = JSON.parse((await run(0, 'show', id, '--watch', '--json')).stdout);
    assert.deepEqual(whole.run.output, { last: 'fine' });
  });

  test('cancel ends a run; what has ended stays as it is', async () => {
    const id = (await run(0, 'run', 'chain')).stdout.trim();
    assert.equal((await run(0, 'cancel', id, '--reason', 'called off')).stdout, `${id}: cancelled\n`);
    assert.equal((await run(0, 'cancel', id)).stdout, `${id}: cancelled\n`);
    assert.deepEqual(await database.rows('SELECT error_message FROM pgflow.runs WHERE run_id = $1', [id]), [{ error_message: 'called off' }]);
    const [{ run_id: completed }] = await database.rows("SELECT run_id FROM pgflow.runs WHERE status = 'completed' LIMIT 1");
    assert.equal((await run(1, 'cancel', completed)).stdout, `${completed}: completed\n`);
    assert.match((await run(1, 'cancel', '01900000-0000-7000-8000-000000000001')).stderr, /run not found/);
    assert.equal((await pgflow(['show', id, '--watch']).ended).status, 1);
  });

  test('runs lists the latest first', async () => {
    const all = JSON.parse((await run(0, 'runs', '--json', '-n', '100')).stdout);
    assert.ok(all.length >= 4);
    assert.deepEqual(all.map(({ run_id }: any) => run_id), all.map(({ run_id }: any) => run_id).sort().reverse());
    const failed = JSON.parse((await run(0, 'runs', '--json', '--status', 'cancelled', '--flow', 'chain')).stdout);
    assert.ok(failed.length > 0 && failed.every(({ status, flow_slug }: any) => status === 'cancelled' && flow_slug === 'chain'));
    assert.deepEqual(JSON.parse((await run(0, 'runs', '--json', '--key', 'k1')).stdout).length, 1);
    const before = JSON.parse((await run(0, 'runs', '--json', '--before', all[1].run_id, '-n', '1')).stdout);
    assert.equal(before[0].run_id, all[2].run_id);
    const { stdout } = await run(0, 'runs', '-n', '2');
    assert.equal(stdout.trim().split('\n').length, 3);
    assert.match(stdout, /^RUN .*FLOW .*STATUS/);
    assert.equal((await run(0, 'runs', '--flow', 'nowhere')).stderr, 'no runs\n');
  });

  test('in a terminal the table is drawn over itself', async (t) => {
    if (spawnSync('script', ['--version']).status !== 0) return t.skip('there is no program "script"');
    const id = (await run(0, 'run', 'chain')).stdout.trim();
    const command = [process.execPath, join(built, 'dist', 'cli', 'main.js'), 'show', id, '--watch'].map((part) => `'${part}'`).join(' ');
    const watching = start('script', ['-qec', command, '/dev/null'], { cwd: project, env: environment({ NO_COLOR: '', TERM: 'xterm', COLUMNS: '100' }) });
    await watching.sees(/●.*first/);
    await eventually(async () => {
      await work('chain', ({ step_slug }) => ({ output: step_slug === 'first' ? [1, 2, 3] : 1 }));
      return watching.process.exitCode;
    }, (code) => code !== null);
    const { status, stdout } = await watching.ended;
    assert.equal(status, 0, stdout);
    // Up over what was drawn, clear, draw again; hidden cursor, and back in the end.
    assert.match(stdout, /\u001b\[\d+A\r\u001b\[J/);
    assert.match(stdout, /✓.*first/);
    assert.match(stdout, /3\/3/);
    assert.ok(stdout.lastIndexOf('\u001b[?25h') > stdout.lastIndexOf('\u001b[?25l'));
  });

  test('who watches is not told of passing trouble: the server ends its connection, and it goes on', async () => {
    const id = (await run(0, 'run', 'chain')).stdout.trim();
    const watching = pgflow(['show', id, '--watch']);
    await watching.sees(/step first started/);
    await database.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgflow' AND datname = current_database()");
    await watching.sees(/the connection to the database is lost; connecting again/);
    await eventually(async () => {
      await work('chain', ({ step_slug }) => ({ output: step_slug === 'first' ? [] : 1 }));
      return watching.process.exitCode;
    }, (code) => code !== null);
    assert.equal((await watching.ended).status, 0);
  });

  test('interrupting the watching leaves the run alone', async () => {
    const id = (await run(0, 'run', 'chain')).stdout.trim();
    const watching = pgflow(['show', id, '--watch']);
    await watching.sees(/step first started/);
    watching.process.kill('SIGINT');
    const { status, stderr } = await watching.ended;
    assert.equal(status, 130);
    assert.match(stderr, /the run goes on: pgflow show/);
    await run(0, 'cancel', id);
  });
});

describe('the first five minutes', () => {
  test('init, deploy, worker, run', async () => {
    const made = JSON.parse((await run(0, 'init', '--javascript', '--json')).stdout);
    assert.equal(made.file, join('flows', 'greet.mjs'));
    assert.match((await run(1, 'init', '--javascript')).stderr, /is there already/);
    assert.match((await run(0, 'init', 'elsewhere', '--typescript')).stdout, /wrote elsewhere\/flows\/greet.ts/);
    mkdirSync(join(project, 'old'));
    write('old/package.json', '{"type": "commonjs"}');
    assert.match((await run(0, 'init', 'old', '--typescript')).stdout, /wrote old\/flows\/greet.mts/);
    await run(0, 'deploy', made.file);

    const worker = pgflow(['worker', made.file, '--verbose', '--id', 'w1', '--concurrency', '2']);
    try {
      await worker.sees(/worker w1 serves greet; Ctrl-C stops it/);
      const watched = await run(0, 'run', 'greet', '{"names": ["Ann", "", "Bob"]}', '--watch');
      assert.deepEqual(JSON.parse(watched.stdout), { letter: '1. Hello, Ann!\n2. Hello, Bob!' });
      await worker.sees(/greet [0-9a-f-]{36} greeting\[1\] completed/);
    } finally {
      worker.process.kill('SIGTERM');
    }
    assert.equal((await worker.ended).status, 0);
    assert.match(worker.said.stderr, /worker w1 has stopped/);
  });

  test('a worker without anything to do says so', async () => {
    write('elsewhere.mjs', `import { Flow } from '${PACKAGE}'; export default new Flow({ slug: 'elsewhere' }).step({ slug: 'python' });`);
    assert.match((await run(2, 'worker', 'elsewhere.mjs')).stderr, /has a step of executor "worker" with a handler/);
  });
});
