/** Servers of a test's own: with other settings than the shared one, or to be killed. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

/** The checkout, which has `scripts/cluster`. */
export const root = process.env['PGFLOW_ROOT'] ?? findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(from: string): string {
  if (existsSync(join(from, 'scripts', 'cluster'))) return from;
  const above = dirname(from);
  if (above === from) throw new Error('the checkout is not found: set PGFLOW_ROOT');
  return findRoot(above);
}

/** A server that the test may stop and start. */
export interface Cluster {
  readonly folder: string;
  /** The URL of a database. */
  url(database?: string): string;
  /** Rows of a statement, by a connection of its own. */
  rows<Row extends pg.QueryResultRow = any>(sql: string, values?: unknown[], database?: string): Promise<Row[]>;
  /** Ends the server as a crash would. */
  crash(): void;
  start(): void;
  remove(): void;
}

export function startCluster(...settings: string[]): Cluster {
  const pgConfig = process.env['PG_CONFIG'] ?? 'pg_config';
  const folder = bash('eval "$("$0/scripts/cluster" start "$@")" && printf %s "$PGFLOW_CLUSTER"', pgConfig, 'fsync=off', ...settings);
  const ctl = (...args: string[]) =>
    bash(
      '. "$0/scripts/env.sh"; dir=$1; shift; as_server "$dir/bin/pg_ctl" "$@" -s -w -t 60 -D "$dir/data" -l "$dir/log" >&2',
      folder,
      ...args,
    );
  return {
    folder,
    url: (database = 'postgres') => `postgresql://postgres@/${database}?host=${encodeURIComponent(folder)}&port=5432`,
    rows: async (sql, values = [], database = 'postgres') => {
      const client = new pg.Client({ host: folder, port: 5432, user: 'postgres', database });
      await client.connect();
      try {
        return (await client.query(sql, values)).rows;
      } finally {
        await client.end();
      }
    },
    crash: () => void ctl('stop', '-m', 'immediate'),
    start: () => void ctl('start'),
    remove: () => void bash('"$0/scripts/cluster" stop "$1"', folder),
  };
}

function bash(script: string, ...args: string[]): string {
  const done = spawnSync('bash', ['-euc', script, root, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (done.status !== 0) throw new Error(`${script}: ${done.stderr}`);
  return done.stdout;
}
