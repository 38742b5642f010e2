/**
 * How a worker reaches pgflow: a connection to PostgreSQL, or HTTP to PostgREST or pgflow-live. Both offer the same few
 * calls of the protocol; neither has rules of its own.
 */

import type { Json } from './json.js';

/**
 * Where pgflow is:
 *
 * - `postgresql://user:password@host/database`, by the driver `pg`;
 * - the options of a `pg` client, for what a URL cannot say (`ssl`, …);
 * - the base URL of PostgREST (`https://x.supabase.co/rest/v1`) or pgflow-live with a token.
 */
export type ConnectionOptions = string | PostgresOptions | HttpOptions;

/** Options of a `pg` client, handed on as they are. */
export interface PostgresOptions {
  connectionString?: string;
  host?: string;
  port?: number;
  user?: string;
  password?: string | (() => string | Promise<string>);
  database?: string;
  ssl?: unknown;
  [option: string]: unknown;
}

/** PostgREST or pgflow-live. */
export interface HttpOptions {
  /** The base URL: functions are at `<url>/rpc/<function>`. */
  url: string;
  /** A JWT; without one, requests are those of the anonymous role. */
  token?: string | undefined;
  /** Asked before each request, for tokens that run out. It should keep the token as long as it is good. */
  getToken?: (() => string | null | undefined | Promise<string | null | undefined>) | undefined;
  /** Supabase's `apikey` header. */
  apikey?: string | undefined;
  /** Further headers of each request. */
  headers?: Record<string, string> | undefined;
  /** Instead of the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** Which task: what every settling call names. */
export interface TaskRef {
  runId: string;
  stepSlug: string;
  taskIndex: number;
  /** Proves that the task is ours. */
  lease: number;
}

/** A task as a claim hands it out. */
export interface ClaimedTask extends TaskRef {
  flowSlug: string;
  attempt: number;
  input: Json;
  /** For how long it is ours, in milliseconds of the server's clock from before the claim; `undefined` if that cannot be told. */
  leaseMs: number | undefined;
}

/** What a settling call came to. */
export interface Receipt {
  accepted: boolean;
  taskStatus: string | null;
  stepStatus: string | null;
  runStatus: string | null;
}

/** What to claim. */
export interface Claim {
  queue: string;
  maxTasks: number;
  leaseSeconds: number | null;
  workerId: string;
}

/** The calls of one claim loop, one after the other. */
export interface Lane {
  /** Settles results, a JSON array as text, and claims: `settle_and_claim`. */
  settleAndClaim(results: string, claim: Claim): Promise<ClaimedTask[]>;
  /** `settle_step_tasks`; receipts in the order of the results. */
  settle(results: string): Promise<Receipt[]>;
  /** Whether a notification was caused by a call of this lane. */
  caused(ring: Ring): boolean;
  close(): Promise<void>;
}

/** Somebody said that there may be work. */
export interface Ring {
  queue: string;
  /** The process of the server that said it. */
  processId: number | undefined;
}

/** Wakes a worker up that waits for work; see `docs/workers.md`, waiting for work. */
export interface Bell {
  /** Resolves once whoever makes a task of the queue ready from now on rings; with `false` if that cannot be had now. */
  arm(queue: string): Promise<boolean>;
  /** Whether it is armed for the queue now. */
  isArmed(queue: string): boolean;
  /** No more rings for this queue. */
  disarm(queue: string): void;
}

export interface Connection {
  /** Opens the calls of one claim loop. Nothing is sent yet. */
  lane(): Lane;
  /** `extend_step_task`: the lease lasts so many seconds from now on. */
  extend(task: TaskRef, leaseSeconds: number): Promise<Receipt>;
  /** Where there are notifications. `ring` is also called when some may have been missed. */
  bell(ring: (ring: Ring) => void): Bell | undefined;
  close(): Promise<void>;
}

/** A call failed: the database refused it, or could not be reached. */
export class CallError extends Error {
  override readonly name = 'CallError';
  /** The SQLSTATE, or the driver's code (`ECONNREFUSED`). */
  readonly code: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** The status of the response, over HTTP. */
  readonly status: number | undefined;
  /** Whether the same call may succeed later: the server restarts, the network is down, a lock was not to be had. */
  readonly isTransient: boolean;

  constructor(
    message: string,
    options: {
      code?: string | undefined;
      detail?: string | undefined;
      hint?: string | undefined;
      status?: number | undefined;
      isTransient: boolean;
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.detail = options.detail;
    this.hint = options.hint;
    this.status = options.status;
    this.isTransient = options.isTransient;
  }
}

/** Whether a SQLSTATE says that the same call may succeed later. */
export function isTransientState(state: string): boolean {
  // Connection, serialization and deadlock, resources, locks and states of objects, shutdown and cancelled statements,
  // the system; and a server that only reads, as a standby does until it takes over.
  return /^(08|40|53|55|57|58)/.test(state) || state === '25006';
}
