/**
 * pgflow over the wire protocol of PostgreSQL, by the driver `pg`.
 *
 * Each claim loop has a connection of its own. One more is for what must not wait behind a claim: leases are extended
 * there, and notifications arrive. A connection that broke, or did not answer in time, is thrown away, and the next call
 * makes a new one.
 */

import type { Json } from './json.js';
import { CallError, isTransientState } from './connection.js';
import type { Bell, Claim, ClaimedTask, Connection, Lane, PostgresOptions, Receipt, Ring, TaskRef } from './connection.js';

/** After so long a call is given up: its outcome is unknown then. */
const CALL_TIMEOUT_MS = 30_000;

/** The server gives a statement up before that: a call that nobody waits for must not claim tasks for nobody. */
const STATEMENT_TIMEOUT_MS = 25_000;

/** Longest wait for a connection. */
const CONNECT_TIMEOUT_MS = 10_000;

/** The port of Supabase's pooler in transaction mode, where neither LISTEN nor prepared statements work. */
const TRANSACTION_POOLER_PORT = 6543;

/** As much of `pg.Client` as is used here. */
interface Client {
  /** The process of the server; `pg` has it once connected. */
  processID?: number | null;
  connect(): Promise<unknown>;
  query(query: { name?: string; text: string; values?: unknown[] }): Promise<{ rows: Record<string, unknown>[] }>;
  on(event: string, listener: (argument: never) => void): unknown;
  end(): Promise<void>;
}

type ClientClass = new (options: PostgresOptions) => Client;

// The lease is measured by the server's clock, once the claim has been made.
const SETTLE_AND_CLAIM = `
  SELECT run_id, flow_slug, step_slug, task_index, attempt, input, lease,
         (extract(epoch FROM lease_expires_at - clock_timestamp()) * 1000)::float8 AS lease_ms
  FROM pgflow.settle_and_claim(results => $1::jsonb, queue => $2, max_tasks => $3, lease_seconds => $4, worker_id => $5)`;

// A shorter one that the role, the database or the caller has set is kept.
const LIMIT_STATEMENTS = `
  SELECT set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', false)
  FROM pg_settings
  WHERE CASE name WHEN 'statement_timeout' THEN setting::int NOT BETWEEN 1 AND ${STATEMENT_TIMEOUT_MS} ELSE false END`;

const SETTLE = 'SELECT accepted, task_status, step_status, run_status FROM pgflow.settle_step_tasks($1::jsonb)';

const EXTEND = `
  SELECT accepted, task_status, step_status, run_status
  FROM pgflow.extend_step_task(run_id => $1, step_slug => $2, task_index => $3, lease => $4, lease_seconds => $5)`;

export class PostgresConnection implements Connection {
  readonly #connect: () => Promise<Client>;
  /** Whether notifications and prepared statements may be used: not behind a pooler in transaction mode. */
  readonly #isDirect: boolean;
  readonly #side: Session;
  readonly #lanes = new Set<PostgresLane>();
  #bell: PostgresBell | undefined;

  static async open(options: string | PostgresOptions, listen: boolean | undefined): Promise<PostgresConnection> {
    let driver: { Client: ClientClass };
    try {
      const module = (await import('pg')) as unknown as { default?: { Client: ClientClass }; Client: ClientClass };
      driver = module.default ?? module;
    } catch (cause) {
      throw new Error('a connection to PostgreSQL needs the driver "pg": npm install pg', { cause });
    }
    const given = typeof options === 'string' ? { connectionString: options } : options;
    const isDirect = listen ?? portOf(given) !== TRANSACTION_POOLER_PORT;
    const { Client } = driver;
    return new PostgresConnection(
      () =>
        connected(
          new Client({
            application_name: 'pgflow worker',
            connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
            keepAlive: true,
            ...given,
          }),
        ),
      isDirect,
    );
  }

  constructor(connect: () => Promise<Client>, isDirect: boolean) {
    this.#connect = connect;
    this.#isDirect = isDirect;
    this.#side = new Session(connect, isDirect);
  }

  lane(): Lane {
    const lane: PostgresLane = new PostgresLane(new Session(this.#connect, this.#isDirect), () => this.#lanes.delete(lane));
    this.#lanes.add(lane);
    return lane;
  }

  async extend(task: TaskRef, leaseSeconds: number | null): Promise<Receipt> {
    const rows = await this.#side.query('pgflow_extend', EXTEND, [
      task.runId,
      task.stepSlug,
      task.taskIndex,
      task.lease,
      leaseSeconds,
    ]);
    return receipt(rows[0] ?? {});
  }

  bell(ring: (ring: Ring) => void): Bell | undefined {
    if (!this.#isDirect) return undefined;
    return (this.#bell ??= new PostgresBell(this.#side, ring));
  }

  async close(): Promise<void> {
    await Promise.all([this.#side.close(), ...[...this.#lanes].map((lane) => lane.close())]);
  }
}

function portOf(options: PostgresOptions): number | undefined {
  if (options.connectionString === undefined) return options.port;
  try {
    return Number(new URL(options.connectionString).port) || undefined;
  } catch {
    return undefined;
  }
}

async function connected(client: Client): Promise<Client> {
  // A client that reports an error to nobody would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    client.end().catch(() => {});
    throw callError(error);
  }
  return client;
}

/** A connection that is made when it is needed, and made anew when it broke. Its calls come one after the other. */
class Session {
  readonly #connect: () => Promise<Client>;
  /** Not behind a pooler in transaction mode: statements may be prepared, and settings stay. */
  readonly #isDirect: boolean;
  #client: Promise<Client> | undefined;
  #current: Client | undefined;
  #isClosed = false;
  /** Called with each client that was lost. */
  onLost: (() => void) | undefined;
  /** Called with each new client before it is used. */
  onConnected: ((client: Client) => Promise<void>) | undefined;

  constructor(connect: () => Promise<Client>, isDirect: boolean) {
    this.#connect = connect;
    this.#isDirect = isDirect;
  }

  /** The process of the server that serves this session now. */
  get processId(): number | undefined {
    return this.#current?.processID ?? undefined;
  }

  async query(name: string, text: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    const client = await this.client();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // Ends the connection also while a query is under way.
        this.#lose(client);
        reject(new CallError(`no answer from the database within ${CALL_TIMEOUT_MS / 1_000} s`, { code: 'ETIMEDOUT', isTransient: true }));
      }, CALL_TIMEOUT_MS);
    });
    try {
      const query = client.query(this.#isDirect ? { name, text, values } : { text, values });
      query.catch(() => {});
      return (await Promise.race([query, late])).rows;
    } catch (error) {
      const found = callError(error);
      // A refusal leaves a good connection; a standby that was a primary must be left to find the new one.
      if (found.isTransient && !/^(40|53|55|57014)/.test(found.code ?? '')) this.#lose(client);
      throw found;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The client, connected. */
  client(): Promise<Client> {
    if (this.#isClosed) return Promise.reject(new CallError('the connection is closed', { isTransient: false }));
    if (this.#client !== undefined) return this.#client;
    const opening: Promise<Client> = (async () => {
      const client = await this.#connect();
      client.on('end', () => this.#lose(client));
      client.on('error', () => this.#lose(client));
      this.#current = client;
      // Ends the connection also while a query is under way.
      const timer = setTimeout(() => client.end().catch(() => {}), CONNECT_TIMEOUT_MS);
      try {
        // A pooler in transaction mode would leave the setting with a connection that others use.
        if (this.#isDirect) await client.query({ text: LIMIT_STATEMENTS });
        await this.onConnected?.(client);
      } catch (error) {
        if (this.#current === client) this.#current = undefined;
        client.end().catch(() => {});
        throw callError(error);
      } finally {
        clearTimeout(timer);
      }
      if (this.#isClosed) {
        client.end().catch(() => {});
        throw new CallError('the connection is closed', { isTransient: false });
      }
      return client;
    })();
    this.#client = opening;
    opening.catch(() => {
      if (this.#client === opening) this.#client = undefined;
    });
    return opening;
  }

  #lose(client: Client): void {
    if (this.#current !== client) return;
    this.#current = undefined;
    this.#client = undefined;
    client.end().catch(() => {});
    this.onLost?.();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#current;
    this.#current = undefined;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }
}

class PostgresLane implements Lane {
  readonly #session: Session;
  readonly #onClosed: () => void;

  constructor(session: Session, onClosed: () => void) {
    this.#session = session;
    this.#onClosed = onClosed;
  }

  async settleAndClaim(results: string, claim: Claim): Promise<ClaimedTask[]> {
    const rows = await this.#session.query('pgflow_settle_and_claim', SETTLE_AND_CLAIM, [
      results,
      claim.queue,
      claim.maxTasks,
      claim.leaseSeconds,
      claim.workerId,
    ]);
    return rows.map((row) => ({
      runId: row['run_id'] as string,
      flowSlug: row['flow_slug'] as string,
      stepSlug: row['step_slug'] as string,
      taskIndex: row['task_index'] as number,
      attempt: row['attempt'] as number,
      input: row['input'] as Json,
      // The driver reads a bigint as a string; leases are below 2^53.
      lease: Number(row['lease']),
      leaseMs: row['lease_ms'] as number,
    }));
  }

  async settle(results: string): Promise<Receipt[]> {
    return (await this.#session.query('pgflow_settle', SETTLE, [results])).map(receipt);
  }

  caused(ring: Ring): boolean {
    return ring.processId !== undefined && ring.processId === this.#session.processId;
  }

  close(): Promise<void> {
    this.#onClosed();
    return this.#session.close();
  }
}

/**
 * Holds the advisory lock of each queue that is waited for, in share mode: as long as it does, commits that make tasks
 * ready notify.
 */
class PostgresBell implements Bell {
  readonly #session: Session;
  readonly #wanted = new Set<string>();
  readonly #held = new Set<string>();
  /** Counts connections that were lost, with all their locks. */
  #losses = 0;
  /** Statements about locks come one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Session, ring: (ring: Ring) => void) {
    this.#session = session;
    session.onConnected = async (client) => {
      client.on('notification', (message: { channel: string; payload?: string; processId?: number }) => {
        if (message.channel === 'pgflow_tasks') ring({ queue: message.payload ?? '', processId: message.processId });
      });
      await client.query({ text: 'LISTEN pgflow_tasks' });
    };
    session.onLost = () => {
      // Who waits looks for itself, finds nothing, and arms the bell again.
      const waiting = [...this.#wanted];
      this.#losses++;
      this.#held.clear();
      this.#wanted.clear();
      for (const queue of waiting) ring({ queue, processId: undefined });
    };
  }

  async arm(queue: string): Promise<boolean> {
    this.#wanted.add(queue);
    try {
      await this.#adjust(queue);
    } catch {
      this.#wanted.delete(queue);
    }
    return this.isArmed(queue);
  }

  isArmed(queue: string): boolean {
    return this.#wanted.has(queue) && this.#held.has(queue);
  }

  disarm(queue: string): void {
    if (this.#wanted.delete(queue)) this.#adjust(queue).catch(() => {});
  }

  /** Takes or gives back the lock of a queue, as is wanted by the time it comes to that. */
  #adjust(queue: string): Promise<void> {
    const next = this.#last.then(async () => {
      if (this.#wanted.has(queue) === this.#held.has(queue)) return;
      const losses = this.#losses;
      if (this.#wanted.has(queue)) {
        await this.#session.query('pgflow_lock', 'SELECT pg_advisory_lock_shared(pgflow_locks.queue_key($1))', [queue]);
        if (losses === this.#losses) this.#held.add(queue);
      } else {
        this.#held.delete(queue);
        await this.#session.query('pgflow_unlock', 'SELECT pg_advisory_unlock_shared(pgflow_locks.queue_key($1))', [queue]);
      }
    });
    this.#last = next.catch(() => {});
    return next;
  }
}

function receipt(row: Record<string, unknown>): Receipt {
  return {
    accepted: row['accepted'] === true,
    taskStatus: (row['task_status'] as string | null) ?? null,
    stepStatus: (row['step_status'] as string | null) ?? null,
    runStatus: (row['run_status'] as string | null) ?? null,
  };
}

/** What the driver throws, as an error of ours. */
function callError(error: unknown): CallError {
  if (error instanceof CallError) return error;
  const { message, code, detail, hint } = (error ?? {}) as Record<string, unknown>;
  // EPIPE and its like are no SQLSTATEs.
  const state = typeof code === 'string' && /^(?!E[A-Z]+$)[0-9A-Z]{5}$/.test(code) ? code : undefined;
  return new CallError(typeof message === 'string' && message !== '' ? message : `the database cannot be reached: ${String(code ?? error)}`, {
    code: typeof code === 'string' ? code : undefined,
    detail: typeof detail === 'string' ? detail : undefined,
    hint: typeof hint === 'string' ? hint : undefined,
    // Without a SQLSTATE it is the network, or the driver that lost it.
    isTransient: state === undefined || isTransientState(state),
    cause: error,
  });
}
