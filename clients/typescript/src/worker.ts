/**
 * The worker: claims the tasks of flows, calls their handlers, and hands the results back.
 *
 * What it promises rests on the protocol (`docs/workers.md`): a task that it holds when it dies is handed out again when
 * its lease ends; a result counts once. So nothing here has to be written down, and whatever goes wrong in the network
 * is answered by trying again.
 */

import { connect } from './connection-open.js';
import type { CallError, ClaimedTask, Connection, ConnectionOptions } from './connection.js';
import type { StepContext } from './context.js';
import type { StepDefinition } from './flow.js';
import { nameOf, stepContext } from './worker-context.js';
import { LeaseLostError, TaskTimeoutError, WorkerStoppedError, readFailure } from './worker-errors.js';
import { QueueLoop } from './worker-queue.js';
import type { HeldTask, QueueHost } from './worker-queue.js';
import { MOST_RESULTS, outputText } from './worker-results.js';
import type { Outcome } from './worker-results.js';

export { LeaseLostError, NonRetryableError, RetryAfterError, TaskTimeoutError, WorkerStoppedError } from './worker-errors.js';
export { CallError } from './connection.js';
export type { ConnectionOptions, HttpOptions, PostgresOptions } from './connection.js';
export type { StepContext } from './context.js';

/** What a worker needs of a flow; every `Flow` has it. */
export interface WorkerFlow {
  readonly slug: string;
  readonly steps: readonly StepDefinition[];
  readonly options: { readonly timeout?: number };
}

/** How a worker works. Only `connection` and `flows` are required. */
export interface WorkerOptions {
  /** A URL of PostgreSQL, options of `pg`, or `{ url, token }` of PostgREST or pgflow-live. */
  connection: ConnectionOptions;
  /** The flows whose steps it does: those of executor `worker` that have a handler. */
  flows: readonly WorkerFlow[];
  /** How many handlers run at once; 10. */
  concurrency?: number | undefined;
  /**
   * The most tasks that one claim takes, 1 to 1,000; 100, or `concurrency` if that is more. While handlers take less time
   * than a round trip, the worker claims more than it can start at once, and never more than this.
   */
  batchSize?: number | undefined;
  /** Only these of the flows' queues. */
  queue?: string | readonly string[] | undefined;
  /** How often an idle worker looks for tasks, in milliseconds; 1,000. */
  pollInterval?: number | undefined;
  /**
   * Whether to wait for notifications: a task is picked up within milliseconds then. Must be `false` behind a pooler in
   * transaction mode; the default is `true`, but for port 6543, which is Supabase's. Not over HTTP.
   */
  listen?: boolean | undefined;
  /** How long a lease lasts, in seconds, instead of the step's `timeout`. It is extended while the handler runs. */
  leaseSeconds?: number | undefined;
  /**
   * The longest that a handler may take, in seconds, up to a day: then its signal is aborted and the attempt fails. Without it a
   * handler may run for ever, since its lease is extended as long as it does.
   */
  maxTaskSeconds?: number | undefined;
  /** A name for logs and `pgflow.workers`, different for each process. */
  workerId?: string | undefined;
  /** Stop on SIGTERM and SIGINT, and at once on the second one; `false`. The process ends when nothing else is left to do. */
  stopOnSignals?: boolean | undefined;
  /** Whether error messages have the stack; `true`. */
  stacks?: boolean | undefined;
  /** Where to write; the console, warnings and errors only. `false`: nowhere. */
  logger?: Logger | false | undefined;
  hooks?: WorkerHooks | undefined;
}

/** `console` is one. */
export interface Logger {
  debug(...message: unknown[]): void;
  info(...message: unknown[]): void;
  warn(...message: unknown[]): void;
  error(...message: unknown[]): void;
}

/** Called as the worker works, for logs, metrics and traces. What they throw, or reject with, is logged and changes nothing. */
export interface WorkerHooks {
  /** A call that settled or claimed something has been made. */
  onClaim?(call: { queue: string; settled: number; claimed: number; durationMs: number }): void;
  /** A handler is about to be called. */
  onStart?(task: StepContext): void;
  /** The server has the result of a task. It refuses it if the task was no longer this worker's. */
  onSettle?(task: StepContext, result: TaskResult): void;
  /** A handler failed, a task was lost, or a call failed that will be tried again (then without `task`). */
  onError?(error: unknown, task?: StepContext): void;
  /** Goes around a handler: returns what `run` returns. For traces, whose context `run` must be called in. */
  around?(task: StepContext, run: () => Promise<unknown>): Promise<unknown>;
}

/** What became of a task. */
export interface TaskResult {
  status: 'completed' | 'failed' | 'released';
  /** Of a failed one. */
  message?: string;
  /** How long its handler took. */
  durationMs: number;
}

/** A worker; see `createWorker`. */
export interface Worker {
  readonly workerId: string;
  readonly queues: readonly string[];
  /**
   * Starts. Resolves when it claims; rejects when it never could: a wrong password, a missing grant, no pgflow there. A
   * database that cannot be reached yet is tried again.
   */
  start(): Promise<void>;
  /**
   * Claims no more, lets running handlers end for up to `timeout` milliseconds (20,000), hands their results over, hands
   * back what is left, and resolves. `Infinity` waits for handlers as long as they run. May be called again with a
   * shorter time.
   */
  stop(options?: { timeout?: number }): Promise<void>;
  /** Resolves when the worker has stopped. */
  readonly done: Promise<void>;
}

/**
 * Makes a worker for the steps of some flows.
 *
 * ```ts
 * const worker = createWorker({ connection: process.env.DATABASE_URL!, flows: [digest], stopOnSignals: true });
 * await worker.start();
 * ```
 */
export function createWorker(options: WorkerOptions): Worker {
  return new TaskWorker(options);
}

/** How long a worker that stops lets handlers run on, unless it is told. */
const STOP_TIMEOUT_MS = 20_000;

/** How long it tries to hand over what it has after that. */
const LAST_WORDS_MS = 2_000;

/** Tasks that were claimed ahead and find no room within this time are handed back. */
const LONGEST_AHEAD_MS = 1_000;

/** A task that nobody here can do is kept this long, and left to others as long. */
const UNKNOWN_TASK_MS = 1_000;

/** An extension that failed is tried again after so long. */
const EXTENSION_DELAY_MS = 1_000;

/** What is left of a lease may be little, after a call that had to wait; half of it is how often leases are extended. */
const SHORTEST_LEASE_MS = 500;

/** A timer cannot be set for more than 24 days. */
const LONGEST_TIMER_MS = 86_400_000;

/** The lease of a task when nothing says how long it lasts: the `timeout` of a flow that names none. */
const USUAL_LEASE_SECONDS = 60;

type Handler = (input: unknown, context: StepContext) => unknown;

interface Held extends HeldTask {
  readonly loop: QueueLoop<Held>;
  readonly context: StepContext;
  /** Made when the handler asks for its signal, or when there is something to tell it. */
  controller: AbortController | undefined;
  readonly leaseMs: number;
  readonly claimedAt: number;
  /** When the lease is to be extended; half of it is over then. */
  extendAt: number;
  startedAt: number | undefined;
  durationMs: number;
}

class TaskWorker implements Worker, QueueHost<Held> {
  readonly workerId: string;
  readonly queues: readonly string[];
  readonly done: Promise<void>;
  readonly leaseSeconds: number | null;
  readonly pollMs: number;

  readonly #options: WorkerOptions;
  readonly #concurrency: number;
  readonly #batchSize: number;
  readonly #logger: Logger;
  readonly #hooks: WorkerHooks;
  readonly #steps = new Map<string, { handler: Handler; leaseSeconds: number }>();

  #connection: Connection | undefined;
  #loops: QueueLoop<Held>[] = [];
  /** From the claim until the result has been handed to the loop. */
  readonly #held = new Set<Held>();
  /** Results that the server may not have yet: their leases are extended too. */
  readonly #outgoing = new Set<Held>();
  /** Claimed, and waiting for a handler to end. */
  #ahead: Held[] = [];
  /** Handlers that run; some may be about tasks that are over. */
  #running = 0;
  /** Tasks that nobody here can do. */
  readonly #unknown = new Map<Held, ReturnType<typeof setTimeout>>();
  #reserved = 0;

  #started: Promise<void> | undefined;
  #isClaiming = false;
  #isAwake = false;
  #isClosed = false;
  #isStopping = false;
  #deadline = Infinity;
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  #extensionTimer: ReturnType<typeof setTimeout> | undefined;
  #extensionAt = Infinity;
  #aheadTimer: ReturnType<typeof setTimeout> | undefined;
  #ended!: () => void;
  #removeSignals = (): void => {};
  readonly #warned = new Map<string, number>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#concurrency = whole('concurrency', options.concurrency ?? 10, 1, 100_000);
    const usual = Math.min(MOST_RESULTS, Math.max(100, this.#concurrency));
    this.#batchSize = whole('batchSize', options.batchSize ?? usual, 1, MOST_RESULTS);
    this.pollMs = whole('pollInterval', options.pollInterval ?? 1_000, 1, 3_600_000);
    this.leaseSeconds =
      options.leaseSeconds === undefined ? null : whole('leaseSeconds', options.leaseSeconds, 1, 1_500_000_000);
    if (options.maxTaskSeconds !== undefined && !(options.maxTaskSeconds > 0 && options.maxTaskSeconds <= LONGEST_TIMER_MS / 1_000)) {
      throw new RangeError(`maxTaskSeconds ${options.maxTaskSeconds} is out of range`);
    }
    this.workerId = options.workerId ?? usualId();
    this.#logger = options.logger === false ? silent : (options.logger ?? quiet);
    this.#hooks = options.hooks ?? {};

    const only = options.queue === undefined ? undefined : [options.queue].flat();
    const queues = new Set<string>();
    for (const flow of options.flows) {
      for (const step of flow.steps) {
        const queue = step.queue ?? flow.slug;
        if (step.executor !== 'worker' || step.handler === undefined) continue;
        if (only !== undefined && !only.includes(queue)) continue;
        queues.add(queue);
        const timeout = step.options.timeout ?? flow.options.timeout;
        this.#steps.set(`${flow.slug}/${step.slug}`, {
          handler: step.handler,
          leaseSeconds: timeout ?? USUAL_LEASE_SECONDS,
        });
      }
    }
    const idle = only?.filter((queue) => !queues.has(queue)) ?? [];
    if (idle.length > 0) throw new TypeError(`no step of these flows is done by a worker in queue "${idle.join('", "')}"`);
    if (queues.size === 0) throw new TypeError('none of these flows has a step of executor "worker" with a handler');
    this.queues = [...queues];
    this.done = new Promise((resolve) => (this.#ended = resolve));
  }

  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  async #start(): Promise<void> {
    if (this.#isClosed) throw new Error('the worker has been stopped');
    try {
      const connection = await connect(this.#options.connection, this.#options.listen);
      this.#connection = connection;
      const bell = connection.bell((ring) => this.#loops.find(({ queue }) => queue === ring.queue)?.ring(ring));
      this.#loops = this.queues.map((queue) => new QueueLoop<Held>(queue, () => connection.lane(), bell, this));
      await Promise.all(this.#loops.map((loop) => this.#check(loop)));
    } catch (error) {
      await this.#close();
      throw error;
    }
    if (this.#isClosed) return;
    if (this.#isStopping) return this.#close();
    if (this.#options.stopOnSignals) this.#stopOnSignals();
    this.#isClaiming = true;
    this.#logger.info(`pgflow worker ${this.workerId}: serves ${this.queues.join(', ')}, ${this.#concurrency} at once`);
    this.wake();
  }

  /** Waits until the database can be reached, and fails if it refuses. */
  async #check(loop: QueueLoop<Held>): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        return await loop.check();
      } catch (error) {
        if (this.#isStopping) return;
        if (!(error as CallError).isTransient) throw error;
        this.troubled(loop, error as CallError, failures);
        await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, 100 * 2 ** failures)));
      }
    }
  }

  stop({ timeout = STOP_TIMEOUT_MS }: { timeout?: number } = {}): Promise<void> {
    const deadline = performance.now() + Math.max(0, timeout);
    const isFirst = !this.#isStopping;
    if (this.#isClosed || (!isFirst && deadline >= this.#deadline)) return this.done;
    this.#isStopping = true;
    this.#deadline = deadline;
    if (this.#started === undefined) {
      void this.#close();
      return this.done;
    }
    clearTimeout(this.#deadlineTimer);
    if (deadline < Infinity) this.#deadlineTimer = setTimeout(() => this.#handBack(), Math.min(LONGEST_TIMER_MS, Math.max(0, timeout)));
    if (!isFirst || !this.#isClaiming) return this.done;
    this.#logger.info(`pgflow worker ${this.workerId}: stops; ${this.#running} handlers are running`);
    this.#isClaiming = false;
    for (const loop of this.#loops) loop.stopClaiming();
    for (const held of this.#ahead.splice(0)) this.#release(held);
    for (const held of [...this.#unknown.keys()]) this.#release(held);
    this.wake();
    return this.done;
  }

  /** The time is over: what still runs is told to end, and handed back. */
  #handBack(): void {
    for (const held of [...this.#held]) {
      if (held.startedAt !== undefined && !held.isOver) controllerOf(held).abort(new WorkerStoppedError());
      this.#release(held);
    }
    this.#deadlineTimer = setTimeout(() => void this.#close(), LAST_WORDS_MS);
    this.wake();
  }

  async #close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isClaiming = false;
    for (const timer of [this.#deadlineTimer, this.#extensionTimer, this.#aheadTimer, ...this.#unknown.values()]) {
      clearTimeout(timer);
    }
    this.#removeSignals();
    const left = this.#loops.some((loop) => !loop.isDone);
    if (left) this.#logger.warn(`pgflow worker ${this.workerId}: results could not be handed over; their leases will run out`);
    await Promise.all(this.#loops.map((loop) => loop.close())).catch(() => {});
    await this.#connection?.close().catch(() => {});
    this.#logger.info(`pgflow worker ${this.workerId}: has stopped`);
    this.#ended();
  }

  #stopOnSignals(): void {
    const { process } = globalThis as { process?: NodeJS.Process };
    if (process?.on === undefined) return;
    let isSecond = false;
    const stop = (): void => {
      void this.stop(isSecond ? { timeout: 0 } : {});
      isSecond = true;
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
    this.#removeSignals = () => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, stop);
    };
  }

  // Slots and turns.

  /** Once what happens at this moment has happened, sees what each loop may do. */
  wake(): void {
    if (this.#isAwake || this.#isClosed) return;
    this.#isAwake = true;
    later(() => {
      this.#isAwake = false;
      if (this.#isClosed) return;
      this.#takeTurns();
      this.#endIfDone();
    });
  }

  /** Who has waited longest takes its part of the free slots first. */
  #takeTurns(): void {
    const free = this.#loops.filter((loop) => loop.isFree).sort((a, b) => a.lastClaimAt - b.lastClaimAt);
    let hungry = free.filter((loop) => loop.wantsTasks).length;
    for (const loop of free) {
      let wanted = 0;
      if (this.#isClaiming && loop.wantsTasks) {
        const used = this.#running + this.#ahead.length + this.#unknown.size + this.#reserved;
        const room = this.#concurrency + this.#lookahead(loop) - used;
        wanted = Math.max(0, Math.min(this.#batchSize, Math.ceil(room / hungry)));
        hungry--;
      }
      this.#reserved += wanted;
      void loop.call(wanted);
    }
  }

  /** How many tasks handlers will have done by the time that the next claim is back. */
  #lookahead(loop: QueueLoop<Held>): number {
    if (loop.handlerMs === undefined) return 0;
    return Math.min(this.#batchSize, Math.floor((this.#concurrency * loop.roundTripMs) / Math.max(loop.handlerMs, 0.001)));
  }

  #endIfDone(): void {
    if (this.#isClaiming || !this.#isStopping || this.#started === undefined) return;
    const isLeft = this.#held.size > 0 || this.#loops.some((loop) => !loop.isDone);
    if (!isLeft && this.#loops.length > 0) void this.#close();
  }

  // What loops tell.

  claimed(loop: QueueLoop<Held>, wanted: number, tasks: ClaimedTask[], sentAt: number): void {
    this.#reserved -= wanted;
    const now = performance.now();
    for (const task of tasks) {
      const step = this.#steps.get(`${task.flowSlug}/${task.stepSlug}`);
      const leaseMs = Math.max(SHORTEST_LEASE_MS, task.leaseMs ?? (step?.leaseSeconds ?? USUAL_LEASE_SECONDS) * 1_000);
      const held: Held = {
        task,
        loop,
        controller: undefined,
        context: stepContext(task, () => controllerOf(held).signal),
        leaseMs,
        claimedAt: now,
        extendAt: sentAt + leaseMs / 2,
        startedAt: undefined,
        durationMs: 0,
        isOver: false,
      };
      this.#held.add(held);
      if (!this.#isClaiming) this.#release(held);
      else if (step === undefined) this.#keepUnknown(held);
      else this.#ahead.push(held);
      this.#extendBy(held.extendAt);
    }
    this.#fill();
  }

  settled(held: Held, outcome: Outcome): void {
    this.#outgoing.delete(held);
    const result: TaskResult = { status: outcome.status, durationMs: held.durationMs };
    if (outcome.status === 'failed') result.message = outcome.failure.message;
    this.#tell(() => this.#hooks.onSettle?.(held.context, result));
  }

  called(loop: QueueLoop<Held>, settled: number, claimed: number, durationMs: number): void {
    this.#tell(() => this.#hooks.onClaim?.({ queue: loop.queue, settled, claimed, durationMs }));
  }

  troubled(loop: QueueLoop<Held>, error: CallError, failures: number): void {
    const message = `pgflow worker ${this.workerId}, queue ${loop.queue}: ${error.message}; trying again`;
    if (!error.isTransient) this.#warnRarely(`${loop.queue} ${error.message}`, () => this.#logger.error(message));
    else if (failures === 1) this.#logger.warn(message);
    else this.#logger.debug(message);
    this.#tell(() => this.#hooks.onError?.(error));
  }

  recovered(loop: QueueLoop<Held>): void {
    this.#logger.warn(`pgflow worker ${this.workerId}, queue ${loop.queue}: the database answers again`);
  }

  gaveUp(held: Held, error: CallError): void {
    this.#outgoing.delete(held);
    this.#logger.error(`pgflow worker ${this.workerId}: the result of ${nameOf(held.task)} was refused: ${error.message}`);
    this.#tell(() => this.#hooks.onError?.(error, held.context));
  }

  letGo(held: Held): void {
    this.#outgoing.delete(held);
  }

  // Handlers.

  /** Starts what there is room for. */
  #fill(): void {
    while (this.#running < this.#concurrency) {
      const held = this.#ahead.shift();
      if (held === undefined) break;
      if (!held.isOver) void this.#run(held);
    }
    this.#watchAhead();
  }

  /** Sees to it that the one who waits longest is looked at in time, however many begin meanwhile. */
  #watchAhead(): void {
    const [first] = this.#ahead;
    if (first === undefined || this.#aheadTimer !== undefined) return;
    const left = first.claimedAt + LONGEST_AHEAD_MS - performance.now();
    this.#aheadTimer = setTimeout(() => this.#releaseAhead(), Math.max(0, left));
  }

  /** Handlers take longer than they did: others may have time for what was claimed ahead. */
  #releaseAhead(): void {
    this.#aheadTimer = undefined;
    // A timer may be early by a millisecond.
    const before = performance.now() - LONGEST_AHEAD_MS + 2;
    const late = this.#ahead.filter(({ claimedAt }) => claimedAt <= before);
    if (late.length > 0) {
      this.#ahead = this.#ahead.filter(({ claimedAt }) => claimedAt > before);
      for (const held of late) this.#release(held);
      for (const loop of this.#loops) loop.handlerMs = Math.max(loop.handlerMs ?? 0, LONGEST_AHEAD_MS);
      this.wake();
    }
    this.#watchAhead();
  }

  async #run(held: Held): Promise<void> {
    const { handler } = this.#steps.get(`${held.task.flowSlug}/${held.task.stepSlug}`) as { handler: Handler };
    const startedAt = performance.now();
    held.startedAt = startedAt;
    this.#running++;
    this.#tell(() => this.#hooks.onStart?.(held.context));
    let isCounted = true;
    const leave = (): void => {
      if (isCounted) this.#running--;
      isCounted = false;
      this.#fill();
      this.wake();
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { maxTaskSeconds } = this.#options;
    if (maxTaskSeconds !== undefined) {
      timer = setTimeout(() => {
        const error = new TaskTimeoutError(maxTaskSeconds);
        this.#finish(held, this.#failed(held, error));
        held.isOver = true;
        controllerOf(held).abort(error);
        // It may not listen; its place is needed.
        leave();
      }, maxTaskSeconds * 1_000);
    }
    let outcome: Outcome;
    try {
      const call = async (): Promise<unknown> => handler(held.task.input, held.context);
      const value = await (this.#hooks.around === undefined ? call() : this.#hooks.around(held.context, call));
      const output = outputText(value);
      outcome =
        'text' in output
          ? { status: 'completed', output: output.text }
          : this.#failed(held, new Error(`the output is not JSON: ${output.problem}`), false);
    } catch (error) {
      outcome = this.#failed(held, error);
    }
    clearTimeout(timer);
    const { loop } = held;
    const took = performance.now() - startedAt;
    loop.handlerMs = loop.handlerMs === undefined ? took : loop.handlerMs + (took - loop.handlerMs) * 0.1;
    this.#finish(held, outcome);
    leave();
  }

  #failed(held: Held, error: unknown, retryable?: boolean): Outcome {
    const failure = readFailure(error, this.#options.stacks !== false);
    if (retryable !== undefined) failure.retryable = retryable;
    // A handler that ends because it was told to is no news.
    if (!held.isOver) {
      this.#logger.warn(`pgflow worker ${this.workerId}: ${nameOf(held.task)} failed: ${failure.message}`);
      this.#tell(() => this.#hooks.onError?.(error, held.context));
    }
    return { status: 'failed', failure };
  }

  /** Hands an outcome to the loop, unless the task is over already. */
  #finish(held: Held, outcome: Outcome): void {
    if (!this.#held.delete(held) || held.isOver) return;
    held.durationMs = held.startedAt === undefined ? 0 : performance.now() - held.startedAt;
    if (outcome.status !== 'released') this.#outgoing.add(held);
    held.loop.push(held, outcome);
    this.wake();
  }

  #release(held: Held): void {
    clearTimeout(this.#unknown.get(held));
    this.#unknown.delete(held);
    this.#finish(held, { status: 'released' });
    // What the handler returns after this is not handed over.
    held.isOver = true;
  }

  #keepUnknown(held: Held): void {
    const step = `${held.task.flowSlug}.${held.task.stepSlug}`;
    this.#warnRarely(step, () =>
      this.#logger.warn(`pgflow worker ${this.workerId}: queue ${held.loop.queue} has tasks of ${step}, which has no handler here; they are handed back`),
    );
    this.#unknown.set(
      held,
      setTimeout(() => {
        // The call that hands it back must not take it again: it is others who may know it.
        held.loop.rest(UNKNOWN_TASK_MS);
        this.#release(held);
      }, UNKNOWN_TASK_MS),
    );
  }

  // Leases.

  /** Sees to it that leases are looked at by then. */
  #extendBy(at: number): void {
    if (at >= this.#extensionAt || this.#isClosed) return;
    this.#extensionAt = at;
    clearTimeout(this.#extensionTimer);
    this.#extensionTimer = setTimeout(() => this.#extendDue(), Math.min(LONGEST_TIMER_MS, Math.max(0, at - performance.now())));
  }

  #extendDue(): void {
    this.#extensionAt = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const held of this.#held) {
      if (held.extendAt > now) {
        next = Math.min(next, held.extendAt);
      } else if (held.extendAt !== Infinity && !held.isOver) {
        void this.#extend(held, now);
      }
    }
    for (const held of this.#outgoing) {
      if (held.extendAt > now) next = Math.min(next, held.extendAt);
      else void this.#extend(held, now);
    }
    this.#extendBy(next);
  }

  async #extend(held: Held, now: number): Promise<void> {
    // Not again while this is under way.
    held.extendAt = Infinity;
    try {
      const receipt = await (this.#connection as Connection).extend(held.task, this.leaseSeconds);
      if (!receipt.accepted) return this.#lose(held, new LeaseLostError(receipt.runStatus, receipt.taskStatus));
      held.extendAt = now + held.leaseMs / 2;
    } catch (error) {
      // No such run: it was deleted.
      if ((error as CallError).code === 'PT404') return this.#lose(held, new LeaseLostError(null, null));
      if (!this.#isClosed) this.#logger.debug(`pgflow worker ${this.workerId}: the lease of ${nameOf(held.task)} was not extended:`, error);
      held.extendAt = performance.now() + EXTENSION_DELAY_MS;
    }
    if (this.#held.has(held) || this.#outgoing.has(held)) this.#extendBy(held.extendAt);
  }

  /** The task is another's, or nobody's. A result that is on its way will be refused. */
  #lose(held: Held, error: LeaseLostError): void {
    if (!this.#held.delete(held) || held.isOver) return;
    held.isOver = true;
    clearTimeout(this.#unknown.get(held));
    this.#unknown.delete(held);
    this.#logger.warn(`pgflow worker ${this.workerId}: ${nameOf(held.task)} is lost: ${error.message}`);
    controllerOf(held).abort(error);
    this.#tell(() => this.#hooks.onError?.(error, held.context));
    this.wake();
  }

  /** Calls a hook, which may be an async function. */
  #tell(hook: () => unknown): void {
    const failed = (error: unknown): void => this.#logger.error(`pgflow worker ${this.workerId}: a hook failed:`, error);
    try {
      const result = hook();
      if (typeof result === 'object' && result !== null && 'then' in result) Promise.resolve(result).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #warnRarely(about: string, warn: () => void): void {
    const now = performance.now();
    if (now - (this.#warned.get(about) ?? -Infinity) < 60_000) return;
    this.#warned.set(about, now);
    warn();
  }
}

function controllerOf(held: Held): AbortController {
  return (held.controller ??= new AbortController());
}

/** After what happens at this moment, before any timer. */
const later: (work: () => void) => void =
  typeof setImmediate === 'function' ? (work) => void setImmediate(work) : (work) => void setTimeout(work, 0);

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const quiet: Logger = {
  debug() {},
  info() {},
  warn: (...message) => console.warn(...message),
  error: (...message) => console.error(...message),
};

function usualId(): string {
  const { process } = globalThis as {
    process?: { pid?: number; env?: Record<string, string | undefined>; getBuiltinModule?: (name: string) => { hostname?: () => string } | undefined };
  };
  let host: string | undefined;
  try {
    host = process?.getBuiltinModule?.('node:os')?.hostname?.() ?? process?.env?.['HOSTNAME'];
  } catch {
    // Deno asks for a permission that was not given.
  }
  return [host ?? 'worker', process?.pid, crypto.randomUUID().slice(0, 8)].filter((part) => part !== undefined).join('-');
}

function whole(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} ${value} is out of range: it must be a whole number from ${least} to ${most}`);
  }
  return value;
}
