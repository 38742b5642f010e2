/** `pgflow compile`: flows into migrations. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { toSql } from '../compile.js';
import { Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { loadFlows } from './load.js';

export const compile: Command = {
  name: 'compile',
  operands: 'FILE…',
  summary: 'write flows as SQL migrations',
  description: [
    'A migration for each flow that the files export, named <time>_pgflow_<flow>.sql. Nothing is written for a flow whose',
    'latest migration in that folder says the same already. Applying a migration again changes nothing.',
    'Without --out the SQL is printed.',
  ].join('\n'),
  options: {
    out: { type: 'string', short: 'o', value: 'FOLDER', help: 'where migrations are written, such as supabase/migrations' },
    check: { type: 'boolean', help: 'with --out: write nothing, and end with status 1 if something would be written' },
  },
  takes: { least: 1, most: Infinity },
  run: runCompile,
};

interface Compiled {
  flow_slug: string;
  sql: string;
  /** The migration that says it, if a folder was named. */
  file?: string;
  written?: boolean;
}

async function runCompile(call: Call): Promise<ExitStatus> {
  const flows = await loadFlows(call.operands);
  const compiled: Compiled[] = flows.map(({ flow }) => ({ flow_slug: flow.slug, sql: toSql(flow) }));
  const folder = call.text('out');
  if (folder === undefined) {
    process.stdout.write(call.json ? `${JSON.stringify(compiled, null, 2)}\n` : compiled.map(({ sql }) => sql).join('\n'));
    return Exit.ok;
  }
  const check = call.flag('check');
  const migrations = new Migrations(folder);
  for (const one of compiled) {
    const file = migrations.saying(one.flow_slug, one.sql);
    one.written = file === undefined && !check;
    const path = file ?? migrations.next(one.flow_slug);
    if (one.written) migrations.write(path, one.sql);
    one.file = relative(process.cwd(), join(folder, path));
    if (!call.json) {
      const what = file !== undefined ? 'is up to date' : check ? 'would be written' : 'written';
      process.stdout.write(`${one.flow_slug}: ${one.file} ${what}\n`);
    }
  }
  if (call.json) process.stdout.write(`${JSON.stringify(compiled, null, 2)}\n`);
  return check && compiled.some(({ file }) => !migrations.has(file)) ? Exit.no : Exit.ok;
}

/** A folder of migrations, which are applied in the order of their names. */
class Migrations {
  readonly #folder: string;
  #names: string[];

  constructor(folder: string) {
    this.#folder = folder;
    try {
      this.#names = readdirSync(folder).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#names = [];
    }
  }

  /** The latest migration of the flow, if it says `sql`. An older one does not count: others came behind it. */
  saying(flowSlug: string, sql: string): string | undefined {
    const latest = this.#names.filter((name) => name.replace(/^\d+_/, '') === `pgflow_${flowSlug}.sql`).at(-1);
    if (latest === undefined) return undefined;
    return readFileSync(join(this.#folder, latest), 'utf8').replaceAll('\r\n', '\n') === sql ? latest : undefined;
  }

  /** The name of a new migration, behind all that are there. */
  next(flowSlug: string): string {
    const latest = Math.max(0, ...this.#names.map((name) => Number(/^(\d{14})_/.exec(name)?.[1] ?? 0)));
    return `${Math.max(latest + 1, timestamp(new Date()))}_pgflow_${flowSlug}.sql`;
  }

  write(name: string, sql: string): void {
    mkdirSync(this.#folder, { recursive: true });
    // Never over another one, should two compile at the same time.
    writeFileSync(join(this.#folder, name), sql, { flag: 'wx' });
    this.#names = [...this.#names, name].sort();
  }

  has(file: string | undefined): boolean {
    return this.#names.some((name) => relative(process.cwd(), join(this.#folder, name)) === file);
  }
}

/** As migrations of Supabase are named: year, month, day, hour, minute, second of UTC. */
function timestamp(time: Date): number {
  return Number(time.toISOString().replace(/\D/g, '').slice(0, 14));
}
