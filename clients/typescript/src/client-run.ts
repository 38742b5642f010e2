/** A run that is watched: its state, what happens to it, and what it comes to. */

import type { CallError } from './connection.js';
import { sleep } from './client-source.js';
import type { Source } from './client-source.js';
import { KnownRun } from './client-state.js';
import type { Change, Learned, Message, RunInfo, RunState, RunStatus, StepInfo } from './client-state.js';
import type { AnyFlow, FlowOutput, StepOutput, StepSlug } from './flow.js';

/** The run failed or was cancelled. */
export class RunFailedError extends Error {
  override readonly name = 'RunFailedError';
  readonly runId: string;
  readonly run: RunInfo;
  /** The step that failed; none when the run was cancelled or ran out of time. */
  readonly step: StepInfo | undefined;

  constructor(run: RunInfo, step: StepInfo | undefined) {
    const said = step?.errorMessage ?? run.errorMessage ?? 'no message';
    // Of a stack, what comes before it.
    const [text = said] = said.split('\n    at ');
    super(run.status === 'cancelled' ? `the run was cancelled${run.errorMessage === null ? '' : `: ${run.errorMessage}`}` : step === undefined ? text : `step ${step.slug}: ${text}`);
    this.runId = run.runId;
    this.run = run;
    this.step = step;
  }
}

/** What is known of a run at one moment; an object that never changes. */
export interface RunView<F extends AnyFlow = AnyFlow> {
  readonly runId: string;
  readonly status: RunStatus;
  /** `undefined` until the first state has come. */
  readonly run: RunInfo<FlowOutput<F>> | undefined;
  /** In the order of the flow; empty until the first state has come. */
  readonly steps: readonly StepInfo[];
  /** How changes come: at once, or by asking now and then. */
  readonly transport: Transport;
  /** Why the run cannot be watched any more: it does not exist, say, or may not be seen. */
  readonly error: Error | undefined;
}

export type Transport = 'connecting' | 'realtime' | 'polling' | 'closed';

/** A run that is watched until it ends, or until `close()`. */
export interface RunHandle<F extends AnyFlow = AnyFlow> {
  readonly runId: string;
  readonly status: RunStatus;
  /** The run as a whole; `undefined` until the first state has come (`ready`). */
  readonly run: RunInfo<FlowOutput<F>> | undefined;
  /** The steps in the order of the flow; empty until then. */
  readonly steps: readonly StepInfo[];
  /** A step; `undefined` until then. */
  step<Slug extends StepSlug<F>>(slug: Slug): StepInfo<StepOutput<F, Slug>> | undefined;
  readonly transport: Transport;
  /** Resolves when the first state is there; rejects if the run cannot be seen. */
  readonly ready: Promise<void>;
  /**
   * Resolves with the output when the run completes. Rejects with a `RunFailedError` when it fails or is cancelled, and
   * with another error when it cannot be watched to its end.
   */
  readonly result: Promise<FlowOutput<F>>;
  /** What is known now; the same object until something changes. */
  view(): RunView<F>;
  /**
   * Calls back for each change of the run or of a step (each once, in order, those before the handle was made included),
   * or, with `change`, whenever `view()` changes. Returns what ends it.
   */
  on(event: 'run', callback: (run: RunInfo<FlowOutput<F>>) => void): () => void;
  on(event: 'step', callback: (step: StepInfo) => void): () => void;
  on(event: 'change', callback: (view: RunView<F>) => void): () => void;
  /** Cancels the run. The caller must be allowed to: see `docs/privileges.md`. */
  cancel(reason?: string): Promise<void>;
  /** Watches no longer. `result` rejects if it has not come. */
  close(): void;
}

/** What a handle needs. */
export interface RunWatch {
  read(signal: AbortSignal): Promise<RunState>;
  cancel(reason: string | undefined): Promise<unknown>;
  source: Source | undefined;
  /** Go on when the run has failed or was cancelled, for it may be retried. */
  follow: boolean;
  status: RunStatus;
}

/** A source that has not opened by then is not waited for. */
const OPENING_MS = 2_000;

/** How often the state is read where nothing is told, and how seldom at last. */
const POLL_MS = 400;
const LONGEST_POLL_MS = 5_000;

/** The same where changes are told: for those that got lost, and for flows that are not published. */
const CHECK_MS = 1_000;
const LONGEST_CHECK_MS = 30_000;

/** Delays between readings that fail. */
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 10_000;

/** How long a reading is tried again that is refused for a reason that may pass: a token, a cache of the schema. */
const PATIENCE_MS = 60_000;

export class WatchedRun implements RunHandle {
  readonly runId: string;
  readonly result: Promise<any>;
  readonly ready: Promise<void>;

  readonly #watch: RunWatch;
  readonly #known = new KnownRun();
  /** Everything that has been learned, in order; each listener is told from its beginning. */
  readonly #history: Change[] = [];
  readonly #listeners = new Set<ChangeListener>();
  readonly #viewers = new Set<(view: RunView) => void>();
  readonly #closed = new AbortController();
  #view: RunView;
  #resolve!: (output: unknown) => void;
  #reject!: (error: Error) => void;
  #isReady!: () => void;
  #isNotReady!: (error: Error) => void;
  #isSettled = false;

  #unwatch = (): void => {};
  #isOpen = false;
  /** How often a change was found that had not been told. */
  #missed = 0;
  #reading: Promise<void> | undefined;
  #mustRead = false;
  #buffer: Message[] = [];
  #failures = 0;
  /** Since when readings have been refused. */
  #refusedSince: number | undefined;
  #quiet = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(runId: string, watch: RunWatch) {
    this.runId = runId;
    this.#watch = watch;
    this.#view = { runId, status: watch.status, run: undefined, steps: [], transport: 'connecting', error: undefined };
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNotReady = reject;
    });
    // Who does not ask is not told by the end of the process.
    this.result.catch(() => {});
    this.ready.catch(() => {});

    const { source } = watch;
    if (source === undefined) {
      void this.#read();
      return;
    }
    this.#timer = setTimeout(() => void this.#read(), OPENING_MS);
    this.#unwatch = source.watch(runId, {
      opened: (state) => {
        this.#isOpen = true;
        this.#quiet = 0;
        // Whether this state or one that is being read is the newer one is not known.
        if (state === undefined || this.#reading !== undefined) void this.#read();
        else this.#learn(this.#known.merge(state), true);
      },
      told: (message) => {
        if (message.run_id !== runId) return;
        if (this.#reading !== undefined) this.#buffer.push(message);
        else this.#learn(this.#known.apply(message), true);
      },
      lost: () => {
        const wasOpen = this.#isOpen;
        this.#isOpen = false;
        this.#quiet = 0;
        if (wasOpen || this.#known.run === undefined) void this.#read();
      },
    });
  }

  get status(): RunStatus {
    return this.#view.status;
  }

  get run(): RunInfo<any> | undefined {
    return this.#view.run;
  }

  get steps(): readonly StepInfo[] {
    return this.#view.steps;
  }

  get transport(): Transport {
    return this.#view.transport;
  }

  step(slug: string): StepInfo<any> | undefined {
    return this.#view.steps.find((step) => step.slug === slug);
  }

  view(): RunView {
    return this.#view;
  }

  on(event: 'run', callback: (run: RunInfo<any>) => void): () => void;
  on(event: 'step', callback: (step: StepInfo) => void): () => void;
  on(event: 'change', callback: (view: RunView) => void): () => void;
  on(event: 'run' | 'step' | 'change', callback: (argument: any) => void): () => void {
    if (event === 'change') {
      this.#viewers.add(callback);
      return () => void this.#viewers.delete(callback);
    }
    if (event !== 'run' && event !== 'step') throw new TypeError(`there is no event "${String(event)}": it is run, step or change`);
    const listener: ChangeListener = { kind: event, callback, told: 0, isReady: false };
    this.#listeners.add(listener);
    // What was before it listened, once it has what ends it; together with those that come at this moment.
    queueMicrotask(() => {
      for (const one of this.#listeners) one.isReady = true;
      this.#catchUp();
    });
    return () => void this.#listeners.delete(listener);
  }

  /** Tells each listener what it has not been told yet; of one change after the other, so that they see one order. */
  #catchUp(): void {
    const behind = [...this.#listeners].filter((listener) => listener.isReady);
    for (let n = Math.min(...behind.map(({ told }) => told)); n < this.#history.length; n++) {
      const change = this.#history[n] as Change;
      for (const listener of behind) {
        if (listener.told !== n || !this.#listeners.has(listener)) continue;
        listener.told++;
        if (change.kind === listener.kind) call(listener.callback, change.kind === 'run' ? change.run : change.step);
      }
    }
  }

  async cancel(reason?: string): Promise<void> {
    await this.#watch.cancel(reason);
    if (!this.#closed.signal.aborted) await this.#read();
  }

  close(): void {
    this.#end(new Error('the run is not watched any longer'));
  }

  /** Reads the whole state; once more, if it is asked for while it does. Messages that come meanwhile wait. */
  #read(): Promise<void> {
    this.#mustRead = true;
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    clearTimeout(this.#timer);
    while (this.#mustRead && !this.#closed.signal.aborted) {
      this.#mustRead = false;
      // What has come until now is in the state that we ask for.
      this.#buffer = [];
      let state: RunState;
      try {
        state = await this.#watch.read(this.#closed.signal);
      } catch (error) {
        if (this.#closed.signal.aborted) break;
        if ((error as CallError).isTransient !== true) {
          this.#refusedSince ??= performance.now();
          if (isFinal(error as CallError) || performance.now() - this.#refusedSince > PATIENCE_MS) {
            this.#end(error as Error);
            break;
          }
        }
        const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
        await sleep(delay * (0.5 + Math.random() / 2), this.#closed.signal);
        this.#mustRead = true;
        continue;
      }
      this.#failures = 0;
      this.#refusedSince = undefined;
      this.#learn(this.#known.replace(state), false);
      for (const message of this.#buffer.splice(0)) {
        // If only the state can say more, the messages behind this one are in it.
        if (this.#mustRead) break;
        this.#learn(this.#known.apply(message), true);
      }
    }
    this.#reading = undefined;
    this.#schedule();
  }

  #learn(learned: Learned, isTold: boolean): void {
    if (this.#closed.signal.aborted) return;
    if (learned === 'read') {
      void this.#read();
      return;
    }
    if (learned.length > 0) {
      // The first state tells what was before; later ones should have nothing new.
      if (!isTold && this.#isOpen && this.#view.run !== undefined) this.#missed++;
      this.#quiet = 0;
    }
    this.#tell(learned);
    if (this.#reading === undefined) this.#schedule();
  }

  #tell(changes: readonly Change[]): void {
    const { run, steps } = this.#known;
    const isFirst = this.#view.run === undefined && run !== undefined;
    this.#show({ run, steps, status: run?.status ?? this.#view.status, transport: this.#isTold ? 'realtime' : 'polling' });
    if (isFirst) this.#isReady();
    this.#history.push(...changes);
    this.#catchUp();
    if (run === undefined) return;
    if (run.status === 'completed') this.#settle(() => this.#resolve(run.output));
    if (run.status === 'failed' || run.status === 'cancelled') {
      const failed = run.status === 'failed' ? steps.find((step) => step.status === 'failed') : undefined;
      this.#settle(() => this.#reject(new RunFailedError(run, failed)));
      if (this.#watch.follow) return;
    }
    if (this.#isSettled && (run.status === 'completed' || !this.#watch.follow)) this.#end(undefined);
  }

  /** Whether changes are told, as far as we have seen. */
  get #isTold(): boolean {
    return this.#isOpen && this.#missed < 2;
  }

  #settle(settle: () => void): void {
    if (!this.#isSettled) settle();
    this.#isSettled = true;
  }

  /** Says when the state is read the next time. */
  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed.signal.aborted) return;
    const [first, longest] = this.#isTold ? [CHECK_MS, LONGEST_CHECK_MS] : [POLL_MS, LONGEST_POLL_MS];
    const delay = Math.min(longest, first * 1.5 ** Math.min(this.#quiet, 30));
    this.#timer = setTimeout(() => {
      this.#quiet++;
      void this.#read();
    }, delay * (0.9 + Math.random() / 5));
  }

  #show(news: Partial<RunView>): void {
    const before = this.#view;
    const keys = Object.keys(news) as (keyof RunView)[];
    if (keys.every((key) => before[key] === news[key])) return;
    this.#view = { ...before, ...news };
    for (const viewer of [...this.#viewers]) call(viewer, this.#view);
  }

  /** Stops watching, for a reason unless the run is over. */
  #end(error: Error | undefined): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(error);
    clearTimeout(this.#timer);
    this.#unwatch();
    if (error !== undefined) {
      this.#settle(() => this.#reject(error));
      this.#isNotReady(error);
    }
    this.#show({ transport: 'closed', ...(error === undefined || this.#known.run !== undefined ? {} : { error }) });
  }
}

/** Whether the database has said that the run is not there, not ours, or not called that; everything else may pass. */
function isFinal({ code = '', status }: CallError): boolean {
  return /^(PT404|42501|22...)$/.test(code) && (status === undefined || [400, 403, 404].includes(status));
}

interface ChangeListener {
  kind: Change['kind'];
  callback: (argument: any) => void;
  /** How much of the history it has been told. */
  told: number;
  isReady: boolean;
}

/** Calls back; what is thrown is reported as uncaught, and others are called all the same. */
function call<T>(callback: (argument: T) => void, argument: T): void {
  try {
    callback(argument);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
