/** Databases for tests, on the server that tests/typescript/run has started, and processes. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams, SpawnOptionsWithoutStdio } from 'node:child_process';
import pg from 'pg';

/** A database with the extension, of which the test knows alone. */
export interface TestDatabase {
  readonly name: string;
  readonly url: string;
  /** The rows that a statement returns. */
  rows<Row extends pg.QueryResultRow = any>(sql: string, values?: unknown[]): Promise<Row[]>;
  /** Feeds SQL to psql; what it printed. Throws when psql does. */
  psql(sql: string): string;
  drop(): Promise<void>;
}

function env(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run tests/typescript/run`);
  return value;
}

export async function createDatabase(label: string, extension = true): Promise<TestDatabase> {
  const name = `${label}_${process.pid}`;
  const place = { host: env('PGHOST'), port: Number(env('PGPORT')), user: env('PGUSER') };
  const administer = async (sql: string) => {
    const client = new pg.Client({ ...place, database: 'postgres' });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await administer(`CREATE DATABASE ${name}`);
  const pool = new pg.Pool({ ...place, database: name, max: 4 });
  pool.on('error', () => undefined);
  if (extension) await pool.query('CREATE EXTENSION pgflow');
  return {
    name,
    url: `postgresql://${place.user}@/${name}?host=${encodeURIComponent(place.host)}&port=${place.port}`,
    rows: async (sql, values = []) => (await pool.query(sql, values)).rows,
    psql: (sql) => {
      const { status, stdout, stderr } = spawnSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', name], { input: sql, encoding: 'utf8' });
      if (status !== 0) throw new Error(`psql: ${stderr}`);
      return stdout;
    },
    drop: async () => {
      await pool.end();
      await administer(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/** What a process came to. */
export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A process and what it has said so far. */
export interface Running {
  readonly process: ChildProcessWithoutNullStreams;
  readonly said: { stdout: string; stderr: string };
  /** Resolves when the process has ended. */
  readonly ended: Promise<Ended>;
  /** Resolves when the process has said something that matches. */
  sees(pattern: RegExp): Promise<void>;
}

export function start(command: string, args: readonly string[], options: SpawnOptionsWithoutStdio = {}): Running {
  const child = spawn(command, args, options);
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  let over = false;
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      over = true;
      resolve({ status, ...said });
    });
  });
  const sees = async (pattern: RegExp) => {
    const until = Date.now() + 30_000;
    while (!pattern.test(said.stdout + said.stderr)) {
      if (over || Date.now() > until) throw new Error(`did not say ${pattern}, but ${(said.stdout + said.stderr).slice(-2_000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { process: child, said, ended, sees };
}

/** Asks again and again until the answer is right. */
export async function eventually<T>(ask: () => Promise<T>, right: (answer: T) => boolean, milliseconds = 30_000): Promise<T> {
  const until = Date.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (right(answer)) return answer;
    if (Date.now() > until) throw new Error(`still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
