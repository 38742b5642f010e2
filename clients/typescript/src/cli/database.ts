/** The database that a command asks. */
import type { Client, QueryResultRow } from 'pg';
import type { Call, ExitStatus } from './command.js';
import { Exit, Refusal } from './command.js';

/** Where the database is, if the call or the environment says it as a URL. */
export function databaseUrl(call: Call): string | undefined {
  return call.text('database') ?? (process.env['DATABASE_URL'] || undefined);
}

/** Does something with a connection, and closes it. */
export async function withDatabase<T>(call: Call, work: (database: Database) => Promise<T>): Promise<T> {
  const database = await Database.open(databaseUrl(call));
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** A connection. What it throws, `explain` explains. */
export class Database {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  /** Connects to the database at `url`, or to the one that PGHOST and so on name. */
  static async open(url: string | undefined): Promise<Database> {
    const { default: pg } = await import('pg').catch(() => {
      throw new Refusal('the package "pg" is needed to talk to the database: npm install pg', Exit.usage);
    });
    const place = url === undefined ? {} : { connectionString: url };
    const client = new pg.Client({ ...place, application_name: 'pgflow', connectionTimeoutMillis: 15_000, keepAlive: true });
    // A lost connection also fails the query that is under way, or the next one.
    client.on('error', () => undefined);
    try {
      await client.connect();
    } catch (error) {
      throw new Unreachable(error);
    }
    return new Database(client);
  }

  /** The rows that a statement returns. */
  async rows<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    const { rows } = await this.#client.query<Row>(sql, [...values]);
    return rows;
  }

  /** The only row that a statement returns. */
  async row<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<Row> {
    const [row] = await this.rows<Row>(sql, values);
    if (row === undefined) throw new Error(`no row: ${sql}`);
    return row;
  }

  /** Does all of it or nothing. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.rows('BEGIN');
    try {
      const result = await work();
      await this.rows('COMMIT');
      return result;
    } catch (error) {
      await this.rows('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => undefined);
  }
}

/** The database cannot be reached, or does not let us in. */
class Unreachable extends Error {
  constructor(cause: unknown) {
    super(`cannot connect to the database: ${reason(cause)}`, { cause });
  }
}

/** Of several addresses that were tried, Node has an error each and no message. */
function reason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(reason).join('; ');
  return error instanceof Error ? error.message : String(error);
}

interface PostgresError extends Error {
  code: string;
  detail?: string;
  hint?: string;
}

function isPostgresError(error: unknown): error is PostgresError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && 'severity' in error;
}

/** Whether the connection is gone and another one may do better. */
export function isLost(error: unknown): boolean {
  if (error instanceof Unreachable) return true;
  // Admin shutdown, crash shutdown, cannot connect now, connection exceptions.
  if (isPostgresError(error)) return /^(57P0[1-3]|08...)$/.test(error.code);
  return error instanceof Error && /^Connection terminated|^Client has encountered a connection error|ECONN|EPIPE/.test(error.message);
}

/** An error of the database in words, with the status to end with. */
export function explain(error: unknown): { message: string; status: ExitStatus } | undefined {
  if (error instanceof Unreachable) {
    const hint = 'Say where it is: --database postgres://user:password@host:5432/name, or DATABASE_URL, or PGHOST and so on.';
    return { message: `${error.message}\n${hint}`, status: Exit.unreachable };
  }
  if (isLost(error)) return { message: `the connection to the database is lost: ${reason(error)}`, status: Exit.unreachable };
  if (!isPostgresError(error)) return undefined;
  const lines = [error.message];
  if (error.detail) lines.push(error.detail);
  if (error.hint) lines.push(error.hint);
  if (/^(3F000|42P01|42883)$/.test(error.code) && error.message.includes('pgflow')) {
    lines.push('There is no pgflow in this database, or an older one: CREATE EXTENSION pgflow, or ALTER EXTENSION pgflow UPDATE.');
  }
  return { message: lines.join('\n'), status: Exit.no };
}
