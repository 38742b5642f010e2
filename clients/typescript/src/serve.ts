/**
 * Steps of executor `http`, as a fetch handler: for an Edge Function, Deno, Bun, Node, or anything that takes a
 * `Request` and gives a `Response`. What it answers is what `docs/http.md` says about answers.
 */

import type { ClaimedRow } from './connection-http.js';
import { connect } from './connection-open.js';
import type { CallError, Connection, ConnectionOptions, Lane, Receipt, TaskRef } from './connection.js';
import type { StepContext } from './context.js';
import type { StepDefinition } from './flow.js';
import type { Json } from './json.js';
import { Secrets } from './serve-signature.js';
import { nameOf, stepContext } from './worker-context.js';
import { LeaseLostError, readFailure } from './worker-errors.js';
import type { Failure } from './worker-errors.js';
import { outputText, resultText } from './worker-results.js';
import type { Outcome } from './worker-results.js';

export { LeaseLostError, NonRetryableError, RetryAfterError } from './worker-errors.js';
export type { ConnectionOptions, HttpOptions, PostgresOptions } from './connection.js';
export type { StepContext } from './context.js';

/** What `serveSteps` needs of a flow; every `Flow` has it. */
export interface ServedFlow {
  readonly slug: string;
  readonly steps: readonly StepDefinition[];
  readonly options: { readonly timeout?: number };
}

export interface ServeOptions {
  /**
   * The secret that requests are signed with, `whsec_…`, or several while one is being replaced
   * (`pgflow.set_http_secrets`). `false` answers whoever asks: only where nobody else can reach it.
   */
  secret: string | readonly string[] | false;
  /** How old a signed request may be, in seconds; 300. */
  tolerance?: number | undefined;
  /**
   * How tasks are settled whose request has been answered by 202. Needed for `later`, `respondAsync`, and where pg_net makes
   * the requests.
   */
  connection?: ConnectionOptions | undefined;
  /**
   * Answer 202 at once and settle the task when the handler has ended: for handlers that take longer than a connection
   * lasts. The lease is extended meanwhile. `false`, but for requests that say `prefer: respond-async`, as pg_net's do.
   */
  respondAsync?: boolean | ((task: StepContext) => boolean) | undefined;
  /**
   * Keeps the process alive until the work is done, where it ends with the response otherwise. Found by itself as
   * `EdgeRuntime.waitUntil`, and as a method of what the runtime hands to the fetch handler beside the request.
   */
  waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Whether answers to failures have the stack; `true`. They go to the database and nowhere else. */
  stacks?: boolean | undefined;
  /** A handler failed, or a task could not be settled; the console unless said otherwise. */
  onError?: ((error: unknown, task?: StepContext) => void) | undefined;
}

/** A fetch handler. What runtimes hand it beside the request is looked at for `waitUntil` only. */
export type FetchHandler = (request: Request, ...runtime: unknown[]) => Promise<Response>;

/** A task that is settled after its request was answered; see `later`. */
export interface LaterTask extends TaskRef {
  /** Completes it. Resolves with whether that was accepted: not if the lease is lost, or the run has ended. */
  complete(output?: Json): Promise<boolean>;
  /** Fails the attempt, as throwing the error would have. */
  fail(error: unknown): Promise<boolean>;
  /** Makes the lease last so many seconds from now on. */
  extend(seconds: number): Promise<boolean>;
}

/** As much of a body as is read. */
const MOST_BYTES = 16_000_000;

/** Tasks whose handlers may ask for `later`. */
const pending = new WeakMap<StepContext, { make: () => LaterTask; isLater: boolean }>();

/**
 * Says that the task of this context will be settled later, and gives what settles it. The request is answered by 202
 * when the handler returns, and what it returns does not count.
 *
 * ```ts
 * const task = later(context);
 * queue.add({ order: input.run.order, done: (receipt) => task.complete(receipt) });
 * ```
 *
 * @throws TypeError when the context is not that of a request, or `serveSteps` has no connection
 */
export function later(context: StepContext): LaterTask {
  const found = pending.get(context);
  if (found === undefined) throw new TypeError('later() needs the context of a handler that serveSteps called');
  const task = found.make();
  found.isLater = true;
  return task;
}

/** A task that another process is to settle: what `later` gave, as it came back from wherever it was. */
export type LaterRef = Omit<TaskRef, 'lease'> & { readonly lease?: number | null | undefined };

export interface LaterTaskOptions {
  /**
   * Settle the task whoever holds it when no lease is given: for an operator, who knows what he does. `false`, for a lease
   * that is missing from what a stranger sent is no proof of anything.
   */
  withoutLease?: boolean | undefined;
}

/**
 * Settles a task that `later` gave, in another process: `runId`, `stepSlug`, `taskIndex` and `lease` are enough.
 *
 * @throws TypeError when they are not those of a task
 */
export async function laterTask(
  task: LaterRef,
  connection: ConnectionOptions,
  { withoutLease = false }: LaterTaskOptions = {},
): Promise<LaterTask & { close(): Promise<void> }> {
  const ref = readRef(task, withoutLease);
  const settler = new Settler(connection);
  return { ...settler.task(ref), close: () => settler.end() };
}

/** Makes sure that it names one task and nothing else: it may have been where others can change it. */
function readRef(task: unknown, withoutLease: boolean): TaskRef {
  if (typeof task !== 'object' || task === null) throw new TypeError('laterTask needs an object that says which task');
  const { runId, stepSlug, taskIndex, lease } = task as Record<keyof TaskRef, unknown>;
  if (!isId(runId)) throw new TypeError('runId is not a UUID');
  if (!isSlug(stepSlug)) throw new TypeError('stepSlug is not the slug of a step');
  if (!isCount(taskIndex)) throw new TypeError('taskIndex is not an integer from 0 on');
  if (lease === undefined || lease === null) {
    if (!withoutLease) throw new TypeError('lease is missing: without it, only an operator settles a task, by "withoutLease: true"');
    return { runId, stepSlug, taskIndex, lease: null as unknown as number };
  }
  if (!isCount(lease)) throw new TypeError('lease is not an integer from 0 on');
  return { runId, stepSlug, taskIndex, lease };
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);
}

function isSlug(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * Makes a fetch handler that does the steps of executor `http` of some flows that have a handler.
 *
 * ```ts
 * Deno.serve(serveSteps([digest], { secret: Deno.env.get('PGFLOW_SECRET')! }));
 * ```
 */
export function serveSteps(flows: readonly ServedFlow[], options: ServeOptions): FetchHandler {
  if (options.secret === undefined) {
    throw new TypeError('serveSteps needs a secret; "secret: false" answers whoever asks');
  }
  const secrets = options.secret === false ? undefined : new Secrets([options.secret].flat());
  const tolerance = options.tolerance ?? 300;
  const withStacks = options.stacks !== false;
  const tell = options.onError ?? ((error, task) => console.error(task === undefined ? 'pgflow:' : `pgflow: ${nameOf(task)} failed:`, error));
  /** What it throws changes nothing. */
  const onError = async (error: unknown, task?: StepContext): Promise<void> => {
    try {
      await (tell(error, task) as unknown);
    } catch (thrown) {
      console.error('pgflow: onError failed:', thrown);
    }
  };
  const settler = options.connection === undefined ? undefined : new Settler(options.connection);

  const steps = new Map<string, { handler: (input: unknown, context: StepContext) => unknown; timeout: number }>();
  for (const flow of flows) {
    for (const step of flow.steps) {
      if (step.executor !== 'http' || step.handler === undefined) continue;
      const timeout = step.options.timeout ?? flow.options.timeout ?? 60;
      steps.set(`${flow.slug}/${step.slug}`, { handler: step.handler, timeout });
    }
  }
  if (steps.size === 0) throw new TypeError('none of these flows has a step of executor "http" with a handler');

  return async (request, ...runtime) => {
    if (request.method !== 'POST') {
      return answer(405, { error: 'pgflow sends its tasks by POST' }, { Allow: 'POST' });
    }
    const refusal = { error: 'the signature is missing, wrong or too old' };
    // Whoever cannot have signed it is not listened to.
    if (secrets !== undefined && !secrets.mayBeSigned(request.headers, tolerance)) return answer(401, refusal);
    const bytes = await readBytes(request);
    if (bytes === undefined) return answer(413, { error: `the body is larger than ${MOST_BYTES} bytes` });
    if (secrets !== undefined && !(await secrets.signed(request.headers, bytes, tolerance))) return answer(401, refusal);
    const body = readBody(bytes);
    if (body === undefined) return answer(400, { error: 'the body is not a task' });
    const step = steps.get(`${body.flow_slug}/${body.step_slug}`);
    if (step === undefined) {
      return answer(404, { error: `flow "${body.flow_slug}", step "${body.step_slug}" has no handler here` });
    }

    const controller = new AbortController();
    const task = stepContext(
      {
        runId: body.run_id,
        flowSlug: body.flow_slug,
        stepSlug: body.step_slug,
        taskIndex: body.task_index,
        attempt: body.attempt,
        lease: body.lease,
      },
      () => controller.signal,
    );
    task.traceparent = request.headers.get('traceparent') ?? task.traceparent;
    const leaseMs = leaseOf(body, request.headers) ?? step.timeout * 1_000;
    const state = {
      isLater: false,
      make: (): LaterTask => {
        if (settler === undefined) throw new TypeError('later() needs serveSteps to have a connection');
        return settler.task(task, leaseMs);
      },
    };
    pending.set(task, state);

    const perform = async (): Promise<Outcome> => {
      try {
        const output = outputText(await step.handler(body.input, task));
        if ('text' in output) return { status: 'completed', output: output.text };
        const error = new Error(`the output is not JSON: ${output.problem}`);
        void onError(error, task);
        return { status: 'failed', failure: { ...readFailure(error, false), retryable: false } };
      } catch (error) {
        void onError(error, task);
        return { status: 'failed', failure: readFailure(error, withStacks) };
      }
    };

    const isRung = /\brespond-async\b/i.test(request.headers.get('prefer') ?? '');
    const isAsync = typeof options.respondAsync === 'function' ? options.respondAsync(task) : options.respondAsync;
    if (isRung || isAsync) {
      if (settler === undefined) {
        const error = new TypeError('a task whose request is not waited for needs serveSteps to have a connection');
        void onError(error, task);
        return answer(500, { error: error.message });
      }
      const work = settler.perform(task, controller, leaseMs, async () => {
        const outcome = await perform();
        return state.isLater && outcome.status === 'completed' ? undefined : outcome;
      });
      keepAlive(work.catch((error: unknown) => onError(error, task)), options.waitUntil, runtime);
      return new Response(null, { status: 202 });
    }

    // Whoever asked may have gone: the step's timeout is over, or the run was cancelled.
    const leave = (): void => controller.abort(request.signal.reason);
    request.signal.addEventListener('abort', leave, { once: true });
    if (request.signal.aborted) leave();
    const outcome = await perform();
    request.signal.removeEventListener('abort', leave);
    if (outcome.status === 'failed') return failed(outcome.failure);
    if (state.isLater) return new Response(null, { status: 202 });
    return new Response(outcome.status === 'completed' ? outcome.output : 'null', {
      status: 200,
      headers: { 'Content-Type': 'application/json' },
    });
  };
}

/** The status makes pgflow try again, or not. */
function failed({ message, retryable, retryAfter }: Failure): Response {
  const [error = message, ...stack] = message.split('\n    at ');
  const body = stack.length === 0 ? { error } : { error, stack };
  if (!retryable) return answer(422, body);
  return retryAfter === undefined ? answer(500, body) : answer(503, body, { 'Retry-After': String(retryAfter) });
}

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } });
}

/** The body, unless it is too large; then what is left of it is not read. */
async function readBytes(request: Request): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get('content-length') ?? 0) > MOST_BYTES) return undefined;
  const reader = request.body?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    size += part.value.length;
    if (size > MOST_BYTES) {
      await reader?.cancel().catch(() => {});
      return undefined;
    }
    chunks.push(part.value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function readBody(bytes: Uint8Array): ClaimedRow | undefined {
  let body: ClaimedRow;
  try {
    body = JSON.parse(new TextDecoder().decode(bytes)) as ClaimedRow;
  } catch {
    return undefined;
  }
  const isTask =
    typeof body === 'object' &&
    body !== null &&
    isId(body.run_id) &&
    [body.flow_slug, body.step_slug].every((text) => typeof text === 'string') &&
    [body.task_index, body.attempt, body.lease].every(isCount);
  return isTask ? body : undefined;
}

/** How long the lease lasted when the request was sent, by the server's clock alone; in milliseconds. */
function leaseOf(body: ClaimedRow, headers: Headers): number | undefined {
  const left = Date.parse(body.lease_expires_at) - Number(headers.get('webhook-timestamp') ?? NaN) * 1_000;
  return Number.isFinite(left) ? Math.max(1_000, Math.floor(left / 1_000) * 1_000) : undefined;
}

function keepAlive(work: Promise<unknown>, given: ServeOptions['waitUntil'], runtime: readonly unknown[]): void {
  const { EdgeRuntime } = globalThis as { EdgeRuntime?: Waiter };
  if (given !== undefined) return given(work);
  for (const one of [EdgeRuntime, ...runtime]) {
    if (isWaiter(one)) return one.waitUntil(work);
  }
}

interface Waiter {
  waitUntil(work: Promise<unknown>): void;
}

function isWaiter(value: unknown): value is Waiter {
  return typeof value === 'object' && value !== null && typeof (value as Partial<Waiter>).waitUntil === 'function';
}

/**
 * How long a settling is tried again where it is not known how long the lease lasts, and, whatever the lease, as long as the
 * database cannot be reached: a result that comes late is taken if nobody else has the task.
 */
const LONGEST_SETTLING_MS = 300_000;

/** A connection that nobody used for so long is closed. */
const IDLE_MS = 10_000;

/** Settles tasks whose requests were answered by 202. */
class Settler {
  readonly #options: ConnectionOptions;
  #opened: Promise<{ connection: Connection; lane: Lane }> | undefined;
  #users = 0;
  #isClosed = false;
  #idle: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** What settles a task, whose lease lasts so long if that is known. */
  task({ runId, stepSlug, taskIndex, lease }: TaskRef, leaseMs = LONGEST_SETTLING_MS): LaterTask {
    const ref = { runId, stepSlug, taskIndex, lease };
    let until = performance.now() + leaseMs;
    return {
      ...ref,
      complete: async (value) => {
        const output = outputText(value);
        if ('problem' in output) throw new TypeError(`the output is not JSON: ${output.problem}`);
        return (await this.settle(ref, { status: 'completed', output: output.text }, () => until)).accepted;
      },
      fail: async (error) => (await this.settle(ref, { status: 'failed', failure: readFailure(error) }, () => until)).accepted,
      extend: async (seconds) => {
        const asked = performance.now();
        const { accepted } = await this.#use(({ connection }) => connection.extend(ref, seconds));
        if (accepted) until = asked + seconds * 1_000;
        return accepted;
      },
    };
  }

  /** Does a task and settles it, unless there is no outcome yet; extends its lease meanwhile. */
  async perform(
    task: StepContext,
    controller: AbortController,
    leaseMs: number,
    work: () => Promise<Outcome | undefined>,
  ): Promise<void> {
    let isLost = false;
    let until = performance.now() + leaseMs;
    const timer = setInterval(() => {
      const asked = performance.now();
      void this.#use(({ connection }) => connection.extend(task, null))
        .then((receipt) => {
          if (receipt.accepted) {
            until = asked + leaseMs;
            return;
          }
          isLost = true;
          until = 0;
          clearInterval(timer);
          controller.abort(new LeaseLostError(receipt.runStatus, receipt.taskStatus));
        })
        .catch(() => {}); // The next one may arrive.
    }, Math.min(86_400_000, leaseMs / 3));
    try {
      const outcome = await work();
      if (outcome !== undefined && !isLost) await this.settle(task, outcome, () => until);
    } finally {
      clearInterval(timer);
    }
  }

  /**
   * Settles a task; again, as long as the database cannot be reached or the lease lasts: a token that ran out, a cache that
   * does not know the function yet, a gateway in between say nothing about the outcome.
   */
  async settle(ref: TaskRef, outcome: Outcome, leaseUntil: () => number): Promise<Receipt> {
    // A lease that is extended meanwhile does not last for ever.
    const longest = Math.max(performance.now() + LONGEST_SETTLING_MS, leaseUntil());
    for (let failures = 0; ; failures++) {
      try {
        const [receipt] = await this.#use(({ lane }) => lane.settle(`[${resultText(ref, outcome)}]`));
        return receipt as Receipt;
      } catch (thrown) {
        const error = thrown as CallError;
        if (this.#isClosed) throw error;
        // What this says is about the outcome.
        if (error.status === 413 || (!error.isTransient && /^(22|54)...$/.test(error.code ?? ''))) {
          if (outcome.status !== 'completed') throw error;
          const message = `the output cannot be stored: ${error.message}`;
          outcome = { status: 'failed', failure: { message, retryable: false, retryAfter: undefined } };
          continue;
        }
        const until = error.isTransient ? longest : Math.min(longest, leaseUntil());
        if (performance.now() > until) throw error;
      }
      const delay = Math.min(5_000, 100 * 2 ** failures) * (0.5 + 0.5 * Math.random());
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.#isClosed) throw new Error('the task was closed before it could be settled');
    }
  }

  /** Gives up what is not settled yet. */
  async end(): Promise<void> {
    this.#isClosed = true;
    await this.close();
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const opened = await this.#opened?.catch(() => undefined);
    this.#opened = undefined;
    await opened?.connection.close();
  }

  async #use<T>(work: (opened: { connection: Connection; lane: Lane }) => Promise<T>): Promise<T> {
    this.#users++;
    clearTimeout(this.#idle);
    try {
      if (this.#opened === undefined) {
        const opened = connect(this.#options, false).then((connection) => ({ connection, lane: connection.lane() }));
        this.#opened = opened;
        // What could not be opened may be the next time.
        opened.catch(() => this.#opened === opened && (this.#opened = undefined));
      }
      return await work(await this.#opened);
    } finally {
      // A process that has nothing else to do should end.
      if (--this.#users === 0) this.#idle = setTimeout(() => void this.close(), IDLE_MS);
    }
  }
}

/**
 * The fetch handler as a listener of Node's `http.createServer`:
 *
 * ```ts
 * createServer(nodeListener(serveSteps([digest], { secret }))).listen(8000);
 * ```
 */
export function nodeListener(handler: FetchHandler): (request: NodeRequest, response: NodeResponse) => void {
  return (request, response) => {
    void respond(handler, request, response).catch((error: unknown) => {
      console.error('pgflow: a request could not be answered:', error);
      response.statusCode = 500;
      response.end();
    });
  };
}

/** As much of Node's `IncomingMessage` as is used. */
interface NodeRequest extends AsyncIterable<Uint8Array> {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
}

/** As much of Node's `ServerResponse` as is used. */
interface NodeResponse {
  statusCode: number;
  readonly writableEnded: boolean;
  setHeader(name: string, value: string): unknown;
  on(event: 'close', listener: () => void): unknown;
  end(body?: Uint8Array): unknown;
}

async function respond(handler: FetchHandler, request: NodeRequest, response: NodeResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableEnded) gone.abort(new Error('the connection was closed'));
  });
  // Read as far as the handler does. The iterator is not told to stop: that would close the connection before the answer.
  const chunks = request[Symbol.asyncIterator]();
  let isRead = false;
  const next = async (): Promise<Uint8Array | undefined> => {
    const { done, value } = await chunks.next();
    if (done === true) isRead = true;
    return done === true ? undefined : value;
  };
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (stream) => {
        const chunk = await next();
        if (chunk === undefined) stream.close();
        else stream.enqueue(chunk);
      },
    },
    { highWaterMark: 0 },
  );
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  const method = request.method ?? 'GET';
  const answered = await handler(
    new Request(new URL(request.url ?? '/', 'http://localhost'), {
      method,
      headers,
      body: method === 'GET' || method === 'HEAD' ? null : body,
      signal: gone.signal,
      duplex: 'half',
    } as RequestInit),
  );
  // Who still sends sees the answer when it has sent everything, unless that is too much.
  for (let size = 0; !isRead && size <= MOST_BYTES; ) size += (await next())?.length ?? 0;
  if (!isRead) response.setHeader('Connection', 'close');
  response.statusCode = answered.status;
  answered.headers.forEach((value, name) => response.setHeader(name, value));
  response.end(new Uint8Array(await answered.arrayBuffer()));
}
