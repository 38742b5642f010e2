/** pgflow over HTTP, by the conventions of PostgREST: `fetch` and nothing else, so that it runs everywhere. */

import type { Json } from './json.js';
import { CallError, isTransientState } from './connection.js';
import type { Bell, Claim, ClaimedTask, Connection, HttpOptions, Lane, Receipt, TaskRef } from './connection.js';

/** After so long a request is given up: its outcome is unknown then. */
const REQUEST_TIMEOUT_MS = 30_000;

/** A response: its body, and the server's time, if it says it. */
interface Answer {
  body: unknown;
  /** The `Date` header in milliseconds since 1970; it has whole seconds. */
  date: number | undefined;
}

/** Calls functions of schema `pgflow`. */
export class HttpRpc {
  readonly #options: HttpOptions;
  readonly #base: string;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, '');
  }

  /** Calls a function with named arguments and returns what it returns. */
  async call(name: string, args: Record<string, unknown>, signal?: AbortSignal): Promise<unknown> {
    return (await this.post(name, JSON.stringify(args), signal)).body;
  }

  /** The same with arguments that are JSON already. */
  async post(name: string, args: string, signal?: AbortSignal): Promise<Answer> {
    let answer = await this.#try(name, args, signal);
    // The token ran out on the way; the next one may be good.
    if (answer.status === 401 && this.#options.getToken !== undefined) answer = await this.#try(name, args, signal);
    if (!answer.ok) throw await readError(answer, name);
    const text = await answer.text();
    const date = Date.parse(answer.headers.get('date') ?? '');
    try {
      return { body: text === '' ? null : JSON.parse(text), date: Number.isNaN(date) ? undefined : date };
    } catch (cause) {
      throw new CallError(`${name}: the answer is not JSON; is ${this.#base} the base URL of PostgREST or pgflow-live?`, {
        isTransient: false,
        cause,
      });
    }
  }

  /** The headers that say who calls. */
  async credentials(): Promise<Record<string, string>> {
    const { token, getToken, apikey, headers } = this.#options;
    const current = getToken === undefined ? token : await getToken();
    return {
      ...headers,
      ...(apikey === undefined ? {} : { apikey }),
      ...(current ? { Authorization: `Bearer ${current}` } : {}),
    };
  }

  async #try(name: string, args: string, signal: AbortSignal | undefined): Promise<Response> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(new Error('no answer in time')), REQUEST_TIMEOUT_MS);
    const stop = (): void => timeout.abort(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop);
    try {
      const response = await (this.#options.fetch ?? globalThis.fetch)(`${this.#base}/rpc/${name}`, {
        method: 'POST',
        headers: {
          ...(await this.credentials()),
          'Content-Type': 'application/json',
          Accept: 'application/json',
          'Content-Profile': 'pgflow',
          'Accept-Profile': 'pgflow',
        },
        body: args,
        signal: timeout.signal,
      });
      // The body belongs to the time as well.
      const body = await response.arrayBuffer();
      return new Response(body.byteLength === 0 ? null : body, {
        status: response.status,
        statusText: response.statusText,
        headers: response.headers,
      });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      const why = timeout.signal.aborted ? (timeout.signal.reason as Error).message : (cause as Error).message;
      throw new CallError(`${name}: ${this.#base} cannot be reached: ${why}`, {
        code: timeout.signal.aborted ? 'ETIMEDOUT' : undefined,
        isTransient: true,
        cause,
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    }
  }
}

/** Reads an error in the form of PostgREST: `{"code", "message", "details", "hint"}`. */
async function readError(response: Response, name: string): Promise<CallError> {
  const text = await response.text();
  let body: { code?: unknown; message?: unknown; details?: unknown; hint?: unknown } = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) body = parsed;
  } catch {
    // The page of a proxy.
  }
  const said = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const code = said(body.code);
  const { status } = response;
  const message = said(body.message) ?? (`${response.statusText} ${text.slice(0, 200)}`.trim() || 'no message');
  const isState = code !== undefined && /^[0-9A-Z]{5}$/.test(code);
  return new CallError(`${name}: ${message} (HTTP ${status})`, {
    code,
    detail: said(body.details),
    hint: said(body.hint),
    status,
    isTransient: isState ? isTransientState(code) : status >= 500 || status === 408 || status === 425 || status === 429,
  });
}

/** For a worker: claims by polling. */
export class HttpConnection implements Connection {
  readonly #rpc: HttpRpc;
  /** Ends what is under way when the connection is closed. */
  readonly #closed = new AbortController();

  constructor(options: HttpOptions) {
    this.#rpc = new HttpRpc(options);
  }

  lane(): Lane {
    return {
      settleAndClaim: (results, claim) => this.#settleAndClaim(results, claim),
      settle: (results) => this.#settle(results),
      caused: () => false,
      close: async () => {},
    };
  }

  async extend(task: TaskRef, leaseSeconds: number | null): Promise<Receipt> {
    return receipt(
      await this.#rpc.call(
        'extend_step_task',
        {
          run_id: task.runId,
          step_slug: task.stepSlug,
          task_index: task.taskIndex,
          lease: task.lease,
          ...(leaseSeconds === null ? {} : { lease_seconds: leaseSeconds }),
        },
        this.#closed.signal,
      ),
    );
  }

  bell(): Bell | undefined {
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed.abort(new CallError('the connection is closed', { isTransient: false }));
  }

  async #settleAndClaim(results: string, claim: Claim): Promise<ClaimedTask[]> {
    const args = JSON.stringify({
      queue: claim.queue,
      max_tasks: claim.maxTasks,
      worker_id: claim.workerId,
      ...(claim.leaseSeconds === null ? {} : { lease_seconds: claim.leaseSeconds }),
    });
    const { body, date } = await this.#rpc.post(
      'settle_and_claim',
      `{"results":${results},${args.slice(1)}`,
      this.#closed.signal,
    );
    return (body as ClaimedRow[]).map((row) => ({
      runId: row.run_id,
      flowSlug: row.flow_slug,
      stepSlug: row.step_slug,
      taskIndex: row.task_index,
      attempt: row.attempt,
      input: row.input,
      lease: row.lease,
      leaseMs: claim.leaseSeconds === null ? leaseMs(row.lease_expires_at, date) : claim.leaseSeconds * 1_000,
    }));
  }

  async #settle(results: string): Promise<Receipt[]> {
    const { body } = await this.#rpc.post('settle_step_tasks', `{"results":${results}}`, this.#closed.signal);
    return (body as unknown[]).map(receipt);
  }
}

/** A claimed task as JSON has it: a row of claim_step_tasks, and the body of a request of the http executor. */
export interface ClaimedRow {
  run_id: string;
  flow_slug: string;
  step_slug: string;
  task_index: number;
  attempt: number;
  input: Json;
  lease: number;
  lease_expires_at: string;
}

/**
 * How long a lease lasts, by the server's clock alone. The `Date` of a response has whole seconds, so the difference may
 * be up to a second too long; leases last whole seconds, so rounding down gives theirs, or one less.
 */
function leaseMs(expiresAt: string, date: number | undefined): number | undefined {
  const difference = Date.parse(expiresAt) - (date ?? NaN);
  return Number.isFinite(difference) ? Math.max(1_000, Math.floor(difference / 1_000) * 1_000) : undefined;
}

function receipt(row: unknown): Receipt {
  const { accepted, task_status, step_status, run_status } = row as Record<string, unknown>;
  return {
    accepted: accepted === true,
    taskStatus: (task_status as string | null) ?? null,
    stepStatus: (step_status as string | null) ?? null,
    runStatus: (run_status as string | null) ?? null,
  };
}
