/**
 * The client: starts runs and watches them, in a browser or anywhere else.
 *
 * It speaks to PostgREST (so also to Supabase) and to pgflow-live, with the rights of its token and no others.
 */

import { CallError, isTransientState } from './connection.js';
import type { HttpOptions } from './connection.js';
import { HttpRpc } from './connection-http.js';
import { WatchedRun } from './client-run.js';
import type { RunHandle } from './client-run.js';
import { ChannelSource, LiveEvents } from './client-source.js';
import type { ChannelClient, Source } from './client-source.js';
import type { RunState, RunStatus } from './client-state.js';
import type { AnyFlow, FlowInput, FlowOutput } from './flow.js';

export { CallError } from './connection.js';
export { RunFailedError } from './client-run.js';
export type { RunHandle, RunView, Transport } from './client-run.js';
export type { RunInfo, RunStatus, StepInfo, StepStatus } from './client-state.js';

/** PostgREST or pgflow-live, and where changes are told. */
export interface ClientTarget extends HttpOptions {
  /**
   * The base URL of pgflow-live, whose server-sent events tell changes; `url` unless said otherwise. `false`: there is
   * none, so the state is read now and then.
   */
  liveUrl?: string | false | undefined;
}

/** As much of a client of `@supabase/supabase-js` as is used. Schema `pgflow` must be exposed. */
export interface SupabaseLike {
  schema(name: string): { rpc(name: string, args: object): SupabaseCall };
  channel(topic: string, options?: never): unknown;
  removeChannel(channel: never): unknown;
}

/** A call that may be ended, where the client is new enough. */
interface SupabaseCall extends PromiseLike<SupabaseAnswer> {
  abortSignal?(signal: AbortSignal): PromiseLike<SupabaseAnswer>;
}

interface SupabaseAnswer {
  data: unknown;
  error: SupabaseError | null;
  status?: number;
}

interface SupabaseError {
  message: string;
  code?: string;
  details?: string | null;
  hint?: string | null;
}

/** After so long a call is given up: its outcome is unknown then. */
const CALL_TIMEOUT_MS = 30_000;

export interface ClientOptions {
  /** Whether the flows' topics are private, as they are unless `set_realtime` said otherwise; `true`. Supabase only. */
  privateTopics?: boolean | undefined;
  /**
   * How a run is cancelled, where users may not call `cancel_run`: by a function of yours, say (`docs/privileges.md` has
   * one). Called with the run's id, and the reason if there is one. What rejects is an error, and so is what resolves with
   * an object that has an `error`, as the calls of supabase-js do.
   */
  cancelRun?: ((runId: string, reason: string | undefined) => Promise<unknown> | PromiseLike<unknown>) | undefined;
}

/** How a run is started, as `run_flow` has it. */
export interface StartOptions {
  /** The second call with the same key starts nothing, and gives the first one's run. */
  idempotencyKey?: string | undefined;
  /** Higher ones first; 0. */
  priority?: number | undefined;
  /** Not before that time. */
  startAt?: Date | string | undefined;
  /** A name of yours for the run: a tenant, an order. */
  key?: string | undefined;
}

/** How a run is watched. */
export interface WatchOptions {
  /** Go on when the run has failed or was cancelled: it may be retried. Then `close()` ends it. `false`. */
  follow?: boolean | undefined;
}

/** How `triggerFlow` waits. */
export interface TriggerOptions extends StartOptions {
  /** Stops waiting; the run goes on. */
  signal?: AbortSignal | undefined;
}

/** Flows by name: what `createClient<{ digest: typeof digest }>(…)` is typed with. */
export type FlowTypes = Record<string, AnyFlow>;

/** Starts and watches runs; see `createClient`. */
export interface Client<Flows extends FlowTypes = FlowTypes> {
  /**
   * Starts a run and resolves with its output when it completes.
   *
   * @throws RunFailedError when it fails or is cancelled, with the step that failed
   * @throws CallError when it cannot be started or watched: not allowed, no such flow, a payload that is none
   */
  triggerFlow<Slug extends keyof Flows & string>(
    flow: Slug,
    payload: FlowInput<Flows[Slug]>,
    options?: TriggerOptions,
  ): Promise<FlowOutput<Flows[Slug]>>;
  triggerFlow<F extends AnyFlow>(flow: F, payload: FlowInput<F>, options?: TriggerOptions): Promise<FlowOutput<F>>;

  /** Starts a run and resolves, as soon as it has been started, with a handle to watch it. */
  startFlow<Slug extends keyof Flows & string>(
    flow: Slug,
    payload: FlowInput<Flows[Slug]>,
    options?: StartOptions & WatchOptions,
  ): Promise<RunHandle<Flows[Slug]>>;
  startFlow<F extends AnyFlow>(flow: F, payload: FlowInput<F>, options?: StartOptions & WatchOptions): Promise<RunHandle<F>>;

  /** Starts a run that nobody here watches, and resolves with its id. */
  runFlow<Slug extends keyof Flows & string>(
    flow: Slug,
    payload: FlowInput<Flows[Slug]>,
    options?: StartOptions,
  ): Promise<string>;
  runFlow<F extends AnyFlow>(flow: F, payload: FlowInput<F>, options?: StartOptions): Promise<string>;

  /** Watches a run that was started elsewhere. Whether it exists turns out with the handle's `ready`. */
  watchRun<F extends AnyFlow = AnyFlow>(runId: string, options?: WatchOptions): RunHandle<F>;

  /** Calls any function of schema `pgflow` with named arguments. */
  call(name: string, args: Record<string, unknown>, signal?: AbortSignal): Promise<unknown>;
}

/**
 * Makes a client.
 *
 * ```ts
 * import type { digest } from './flows.js';
 * const pgflow = createClient<{ digest: typeof digest }>(supabase);
 * const output = await pgflow.triggerFlow('digest', { topic: 'databases' });
 * ```
 *
 * @param target a client of Supabase, or `{ url, token, liveUrl }`
 */
export function createClient<Flows extends FlowTypes = FlowTypes>(
  target: SupabaseLike | ClientTarget,
  options: ClientOptions = {},
): Client<Flows> {
  return new PgflowClient(target, options) as unknown as Client<Flows>;
}

type Call = (name: string, args: Record<string, unknown>, signal?: AbortSignal) => Promise<unknown>;

class PgflowClient {
  readonly call: Call;
  readonly #source: Source | undefined;
  readonly #cancelRun: (runId: string, reason: string | undefined) => Promise<unknown> | PromiseLike<unknown>;

  constructor(target: SupabaseLike | ClientTarget, options: ClientOptions) {
    if (isSupabase(target)) {
      this.call = supabaseCall(target);
      this.#source = ChannelSource.of(target as ChannelClient, options.privateTopics !== false);
    } else {
      const rpc = new HttpRpc(target);
      this.call = (name, args, signal) => rpc.call(name, args, signal);
      const live = target.liveUrl ?? target.url;
      const fetch = target.fetch ?? ((input, init) => globalThis.fetch(input, init));
      this.#source = live === false ? undefined : new LiveEvents(live, () => rpc.credentials(), fetch);
    }
    this.#cancelRun =
      options.cancelRun ??
      ((runId, reason) => this.call('cancel_run', { run_id: runId, ...(reason === undefined ? {} : { reason }) }));
  }

  async triggerFlow(flow: string | AnyFlow, payload: unknown, options: TriggerOptions = {}): Promise<unknown> {
    const { signal, ...start } = options;
    signal?.throwIfAborted();
    const handle = await this.startFlow(flow, payload, start);
    const leave = (): void => handle.close();
    signal?.addEventListener('abort', leave, { once: true });
    if (signal?.aborted) leave();
    try {
      return await handle.result;
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', leave);
      handle.close();
    }
  }

  async startFlow(
    flow: string | AnyFlow,
    payload: unknown,
    options: StartOptions & WatchOptions = {},
  ): Promise<WatchedRun> {
    const runId = await this.runFlow(flow, payload, options);
    const isLater = options.startAt !== undefined && new Date(options.startAt).getTime() > Date.now();
    return this.#watch(runId, isLater ? 'pending' : 'started', options);
  }

  async runFlow(flow: string | AnyFlow, payload: unknown, options: StartOptions = {}): Promise<string> {
    const { idempotencyKey, priority, startAt, key } = options;
    // What is left out has its default; null would not.
    const args: Record<string, unknown> = { flow_slug: typeof flow === 'string' ? flow : flow.slug };
    if (payload !== undefined) args['payload'] = payload;
    if (idempotencyKey !== undefined) args['idempotency_key'] = idempotencyKey;
    if (priority !== undefined) args['priority'] = priority;
    if (startAt !== undefined) args['start_at'] = startAt instanceof Date ? startAt.toISOString() : startAt;
    if (key !== undefined) args['key'] = key;
    return (await this.call('run_flow', args)) as string;
  }

  watchRun(runId: string, options: WatchOptions = {}): WatchedRun {
    return this.#watch(runId, 'started', options);
  }

  #watch(runId: string, status: RunStatus, { follow = false }: WatchOptions): WatchedRun {
    return new WatchedRun(runId, {
      read: async (signal) => (await this.call('get_run', { run_id: runId }, signal)) as RunState,
      cancel: async (reason) => {
        const answer = await this.#cancelRun(runId, reason);
        if (typeof answer !== 'object' || answer === null) return;
        const { error, status } = answer as { error?: unknown; status?: number };
        if (error) throw error instanceof Error ? error : supabaseError('cancelRun', error, status);
      },
      source: this.#source,
      follow,
      status,
    });
  }
}

function isSupabase(target: SupabaseLike | ClientTarget): target is SupabaseLike {
  return typeof (target as SupabaseLike).channel === 'function' && typeof (target as SupabaseLike).schema === 'function';
}

function supabaseCall(supabase: SupabaseLike): Call {
  return async (name, args, signal) => {
    signal?.throwIfAborted();
    const given = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let leave = (): void => {};
    const over = new Promise<never>((_, reject) => {
      const stop = (reason: unknown): void => {
        reject(reason);
        given.abort(reason);
      };
      timer = setTimeout(() => stop(new CallError(`${name}: no answer in time`, { isTransient: true })), CALL_TIMEOUT_MS);
      leave = () => stop(signal?.reason);
    });
    signal?.addEventListener('abort', leave);
    try {
      const asked = supabase.schema('pgflow').rpc(name, args);
      const call = typeof asked.abortSignal === 'function' ? asked.abortSignal(given.signal) : asked;
      const { data, error, status } = await Promise.race([call, over]);
      if (error === null) return data;
      throw supabaseError(name, error, status);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', leave);
    }
  };
}

/** An error as supabase-js gives it; anything with a message, or text, will do. */
function supabaseError(name: string, error: unknown, status: number | undefined): CallError {
  const { message = String(error), code, details, hint } = error as Partial<SupabaseError>;
  const isState = /^[0-9A-Z]{5}$/.test(code ?? '');
  return new CallError(`${name}: ${message}`, {
    code: code || undefined,
    detail: details ?? undefined,
    hint: hint ?? undefined,
    status,
    // Without a status the request did not get there.
    isTransient: isState ? isTransientState(code ?? '') : !status || status >= 500 || status === 408 || status === 429,
  });
}
