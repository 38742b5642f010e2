/**
 * The claim loop of one queue. One call is under way at a time: it takes the results that have come in meanwhile and
 * brings the next tasks, so that a busy worker makes one round trip for each batch, and an idle one holds no result back.
 */

import { CallError } from './connection.js';
import type { Bell, ClaimedTask, Lane, Ring } from './connection.js';
import { batchLength, resultText } from './worker-results.js';
import type { Outcome } from './worker-results.js';

/** A task of which the worker knows, from the claim until the server has its result. */
export interface HeldTask {
  readonly task: ClaimedTask;
  /** Nothing that becomes of it counts any more: it is another worker's, or handed back. */
  isOver: boolean;
}

/** What a loop needs of its worker. */
export interface QueueHost<Held extends HeldTask> {
  readonly workerId: string;
  readonly leaseSeconds: number | null;
  readonly pollMs: number;
  /** A call that asked for `wanted` tasks has ended; it began at `sentAt` (milliseconds of `performance.now()`). */
  claimed(loop: QueueLoop<Held>, wanted: number, tasks: ClaimedTask[], sentAt: number): void;
  /** The server has the result; whether it was accepted is not known here. */
  settled(held: Held, outcome: Outcome): void;
  /** A call was made. */
  called(loop: QueueLoop<Held>, settled: number, claimed: number, durationMs: number): void;
  /** A call failed; it is tried again. */
  troubled(loop: QueueLoop<Held>, error: CallError, failures: number): void;
  /** A call succeeded after some that failed. */
  recovered(loop: QueueLoop<Held>): void;
  /** The result of this task was refused for good. */
  gaveUp(held: Held, error: CallError): void;
  /** The lease of this task is no longer to be extended; its result may still be accepted. */
  letGo(held: Held): void;
  /** Something may be possible that was not. */
  wake(): void;
}

interface Outgoing<Held> {
  held: Held;
  outcome: Outcome;
  text: string;
  /** Since when it has been refused alone. */
  refusedSince?: number;
}

/** A queue that gave less than it was asked for is asked again only after so long, unless something happens. */
const SETTLING_DOWN_MS = 20;

/** Delays between calls that fail. */
const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5_000;

/**
 * While others are settled, the lease of a single result that is not is kept this long, or as long as it lasts at first if
 * that is shorter.
 */
const LONGEST_REFUSED_MS = 60_000;

export class QueueLoop<Held extends HeldTask> {
  readonly queue: string;
  /** When tasks were last asked for; loops take turns. */
  lastClaimAt = -Infinity;
  /** How long a call takes, a moving average in milliseconds. */
  roundTripMs = 1;
  /** How long a handler takes, a moving average; `undefined` before the first one. */
  handlerMs: number | undefined;

  readonly #openLane: () => Lane;
  readonly #lane: Lane;
  readonly #bell: Bell | undefined;
  readonly #host: QueueHost<Held>;
  #outbox: Outgoing<Held>[] = [];
  /**
   * Results whose call took too long, or was refused while others are not: by their run, or alone by their task. They go
   * by calls of their own, by a lane of their own, so that a run that somebody holds locked does not keep the others.
   */
  readonly #aside = new Map<string, Outgoing<Held>[]>();
  #asideLane: Lane | undefined;
  #isCallingAside = false;
  #asideFailures = 0;
  #asideTimer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #isCalling = false;
  /** There may be tasks that nobody has told us of. */
  #isHungry = true;
  #rang = false;
  #failures = 0;
  #isBackingOff = false;
  #isClaiming = true;
  #restsUntil = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #armTimer: ReturnType<typeof setTimeout> | undefined;
  #restTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(queue: string, openLane: () => Lane, bell: Bell | undefined, host: QueueHost<Held>) {
    this.queue = queue;
    this.#openLane = openLane;
    this.#lane = openLane();
    this.#bell = bell;
    this.#host = host;
  }

  /** Whether a call could be made now. */
  get isFree(): boolean {
    return !this.#isCalling && !this.#isBackingOff;
  }

  /** Whether it should claim: it may have tasks, or it settles some, which may make others ready. */
  get wantsTasks(): boolean {
    return performance.now() >= this.#restsUntil && (this.#isHungry || this.#outbox.length > 0);
  }

  /** Whether nothing is left to hand over. */
  get isDone(): boolean {
    return !this.#isCalling && this.#outbox.length === 0 && !this.#isCallingAside && this.#aside.size === 0;
  }

  /** Takes a result; it goes with the next call. */
  push(held: Held, outcome: Outcome): void {
    const outgoing = { held, outcome, text: resultText(held.task, outcome) };
    (this.#aside.get(held.task.runId) ?? this.#outbox).push(outgoing);
  }

  /** Leaves the queue to others for a while. Results are handed over. */
  rest(milliseconds: number): void {
    this.#restsUntil = performance.now() + milliseconds;
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => {
      this.#isHungry = true;
      this.#host.wake();
    }, milliseconds + 1);
  }

  /** Somebody says that there may be tasks. */
  ring(ring: Ring): void {
    // Our own call made tasks ready, saw them, and took them, unless it took as many as it could: then we are hungry
    // anyway.
    if (this.#lane.caused(ring)) return;
    if (this.#isCalling) this.#rang = true;
    this.#isHungry = true;
    this.#host.wake();
  }

  /** No more tasks; results are still handed over. */
  stopClaiming(): void {
    this.#isClaiming = false;
    clearTimeout(this.#armTimer);
    clearTimeout(this.#restTimer);
    if (!this.#isBackingOff) clearTimeout(this.#timer);
    this.#bell?.disarm(this.queue);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.stopClaiming();
    clearTimeout(this.#timer);
    clearTimeout(this.#asideTimer);
    await Promise.all([this.#lane.close(), this.#asideLane?.close()]);
  }

  /** Asks whether this worker may claim here, without claiming. */
  async check(): Promise<void> {
    await this.#lane.settleAndClaim('[]', this.#claim(0));
  }

  /** Makes a call, if there is something to say: hands results over, and claims so many tasks. */
  async call(wanted: number): Promise<void> {
    if (!this.isFree || (wanted === 0 && this.#outbox.length === 0)) return;
    this.#isCalling = true;
    this.#rang = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#armTimer);
    const batch = this.#outbox.splice(0, batchLength(this.#outbox));
    const sentAt = performance.now();
    if (wanted > 0) this.lastClaimAt = sentAt;
    try {
      const claimed = await this.#settleAndClaim(batch, wanted);
      this.#isCalling = false;
      this.#succeeded(batch.length, wanted, claimed, sentAt);
    } catch (error) {
      this.#isCalling = false;
      this.#backOff(asCallError(error));
      this.#host.claimed(this, wanted, [], sentAt);
    }
    this.#host.wake();
  }

  /** Settles and claims; `undefined` if there has been no claim. Results that are not settled are in the outbox again. */
  async #settleAndClaim(batch: Outgoing<Held>[], wanted: number): Promise<ClaimedTask[] | undefined> {
    let claimed: ClaimedTask[] | undefined;
    try {
      if (wanted > 0) claimed = await this.#lane.settleAndClaim(textOf(batch), this.#claim(wanted));
      else if (batch.length > 0) await this.#lane.settle(textOf(batch));
    } catch (thrown) {
      const error = asCallError(thrown);
      if (batch.length === 0) throw error;
      // One bad result must not keep the others.
      if (isRefusal(error)) {
        await this.#settleApart(batch);
        return undefined;
      }
      await this.#keep(batch, error);
      throw error;
    }
    for (const { held, outcome } of batch) this.#host.settled(held, outcome);
    return claimed;
  }

  #succeeded(settled: number, wanted: number, claimed: ClaimedTask[] | undefined, sentAt: number): void {
    const durationMs = performance.now() - sentAt;
    this.roundTripMs += (durationMs - this.roundTripMs) * 0.2;
    if (this.#failures > 0) this.#host.recovered(this);
    this.#failures = 0;
    const count = claimed?.length ?? 0;
    if (settled > 0 || count > 0) this.#host.called(this, settled, count, durationMs);
    this.#host.claimed(this, wanted, claimed ?? [], sentAt);
    if (!this.#isClaiming) return;
    if (claimed === undefined) {
      // What was settled may have made tasks ready.
      this.#isHungry = true;
    } else if (count >= wanted) {
      this.#isHungry = true;
      this.#bell?.disarm(this.queue);
    } else {
      this.#isHungry = this.#rang;
      if (!this.#isHungry) this.#wait(count > 0);
    }
  }

  /** Nothing is there: look again when the bell rings, or when the time has come. */
  #wait(isBusy: boolean): void {
    const look = (): void => {
      this.#isHungry = true;
      this.#host.wake();
    };
    // A crowd of workers that started together should not ask together for ever.
    this.#timer = setTimeout(look, this.#host.pollMs * (0.9 + 0.2 * Math.random()));
    const bell = this.#bell;
    if (bell === undefined || bell.isArmed(this.queue)) return;
    const arm = (): void => {
      void bell.arm(this.queue).then((isArmed) => {
        // What became ready before the bell was armed has rung for nobody.
        if (isArmed && this.#isClaiming) look();
        else if (!this.#isClaiming) bell.disarm(this.queue);
      });
    };
    // While handlers end every few milliseconds, each end asks anyway.
    if (isBusy) this.#armTimer = setTimeout(arm, SETTLING_DOWN_MS);
    else arm();
  }

  #backOff(error: CallError): void {
    this.#failures++;
    this.#host.troubled(this, error, this.#failures);
    const first = error.isTransient ? FIRST_DELAY_MS : 10 * FIRST_DELAY_MS;
    const delay = Math.min(LONGEST_DELAY_MS, first * 2 ** Math.min(this.#failures - 1, 20));
    this.#isBackingOff = true;
    this.#isHungry = true;
    this.#timer = setTimeout(() => {
      this.#isBackingOff = false;
      this.#host.wake();
    }, delay * (0.5 + 0.5 * Math.random()));
  }

  /**
   * Keeps results of a call that failed otherwise than by a refusal of one of them. Not known whether it was done: if it
   * was, the results are refused when they come again, and the tasks that were claimed come back when their leases end.
   */
  async #keep(batch: Outgoing<Held>[], error: CallError): Promise<void> {
    if (isSlow(error)) return this.#putAside(batch);
    if (!error.isTransient) {
      // About some of these results, or about whatever the worker asks now?
      try {
        await this.check();
        return this.#putAside(batch);
      } catch {
        // About everything.
      }
    }
    this.#outbox.unshift(...batch);
  }

  /** Settles results in ever smaller batches, until the one is found that is refused as malformed. */
  async #settleApart(batch: Outgoing<Held>[], lane = this.#lane): Promise<void> {
    try {
      await lane.settle(textOf(batch));
    } catch (thrown) {
      const error = asCallError(thrown);
      if (!isRefusal(error)) {
        if (lane === this.#lane) await this.#keep(batch, error);
        else this.#putAside(batch);
        throw error;
      }
      const [only] = batch;
      if (only !== undefined && batch.length === 1) return this.#replace(only, error, lane);
      const half = batch.length >> 1;
      const second = batch.slice(half);
      try {
        await this.#settleApart(batch.slice(0, half), lane);
      } catch (other) {
        this.#outbox.push(...second);
        throw other;
      }
      return this.#settleApart(second, lane);
    }
    for (const { held, outcome } of batch) this.#host.settled(held, outcome);
  }

  /** A result that cannot be stored, such as one that is too large, is a failed attempt. */
  async #replace(outgoing: Outgoing<Held>, error: CallError, lane: Lane): Promise<void> {
    const { held, outcome } = outgoing;
    if (outcome.status !== 'completed') return this.#giveUp(outgoing, error);
    const failure = { message: `the output cannot be stored: ${error.message}`, retryable: false, retryAfter: undefined };
    const failed: Outcome = { status: 'failed', failure };
    await this.#settleApart([{ held, outcome: failed, text: resultText(held.task, failed) }], lane);
  }

  #giveUp({ held }: Outgoing<Held>, error: CallError): void {
    held.isOver = true;
    this.#host.gaveUp(held, error);
  }

  // Results that are handed over beside the others.

  #putAside(batch: readonly Outgoing<Held>[], keyOf = ({ held }: Outgoing<Held>): string => held.task.runId): void {
    for (const outgoing of batch) {
      const key = keyOf(outgoing);
      const group = this.#aside.get(key);
      if (group === undefined) this.#aside.set(key, [outgoing]);
      else group.push(outgoing);
    }
    if (!this.#isCallingAside && this.#asideTimer === undefined) void this.#settleAside();
  }

  /** Tries each group once, and all that are left once more after a while. */
  async #settleAside(): Promise<void> {
    this.#isCallingAside = true;
    const lane = (this.#asideLane ??= this.#openLane());
    let hasFailed = false;
    for (const [key, group] of [...this.#aside]) {
      while (group.length > 0 && !this.#isClosed) {
        const batch = group.splice(0, batchLength(group));
        try {
          await lane.settle(textOf(batch));
          for (const { held, outcome } of batch) this.#host.settled(held, outcome);
          // What was settled may have made tasks ready.
          this.#isHungry = this.#isClaiming;
          this.#host.wake();
        } catch (thrown) {
          // Results of this group that come meanwhile wait with it, at the end of the line.
          if (this.#isClosed) {
            group.unshift(...batch);
            break;
          }
          this.#aside.delete(key);
          if (group.length > 0) this.#putAside(group.splice(0));
          if (!(await this.#settleAsideApart(key, batch, asCallError(thrown), lane))) hasFailed = true;
        }
      }
      if (group.length === 0 && this.#aside.get(key) === group) this.#aside.delete(key);
    }
    this.#isCallingAside = false;
    if (this.#isClosed) return;
    this.#host.wake();
    if (this.#aside.size === 0) {
      this.#asideFailures = 0;
      this.#asideLane = undefined;
      void lane.close().catch(() => {});
      return;
    }
    this.#asideFailures = hasFailed ? this.#asideFailures + 1 : 0;
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#asideFailures, 20));
    this.#asideTimer = setTimeout(() => {
      this.#asideTimer = undefined;
      void this.#settleAside();
    }, delay * (0.5 + 0.5 * Math.random()));
  }

  /** What to do about results of one run, or of one task, whose call failed; whether they are done with. */
  async #settleAsideApart(key: string, batch: Outgoing<Held>[], error: CallError, lane: Lane): Promise<boolean> {
    const [only] = batch;
    try {
      if (isRefusal(error)) {
        await this.#settleApart(batch, lane);
        return true;
      }
      if (error.isTransient || only === undefined) {
        this.#putAside(batch, () => key);
      } else if (batch.length > 1) {
        this.#putAside(batch, ({ held: { task } }) => `${task.runId}/${task.stepSlug}/${task.taskIndex}`);
      } else {
        const isForGood = await this.#isRefusedForGood(only, lane);
        if (isForGood && isForbidden(error)) {
          this.#giveUp(only, error);
          return true;
        }
        // Somebody else may have another attempt then; the result is tried until it is refused for that.
        if (isForGood) this.#host.letGo(only.held);
        this.#putAside(batch, () => key);
      }
      this.#host.troubled(this, error, this.#asideFailures + 1);
    } catch (other) {
      this.#host.troubled(this, asCallError(other), this.#asideFailures + 1);
    }
    return false;
  }

  /** Whether this result has been refused for long, while the worker may serve the queue. */
  async #isRefusedForGood(outgoing: Outgoing<Held>, lane: Lane): Promise<boolean> {
    try {
      await lane.settleAndClaim('[]', this.#claim(0));
    } catch {
      delete outgoing.refusedSince;
      return false;
    }
    const since = (outgoing.refusedSince ??= performance.now());
    return performance.now() - since >= Math.min(LONGEST_REFUSED_MS, outgoing.held.task.leaseMs ?? Infinity);
  }

  #claim(maxTasks: number): { queue: string; maxTasks: number; leaseSeconds: number | null; workerId: string } {
    return { queue: this.queue, maxTasks, leaseSeconds: this.#host.leaseSeconds, workerId: this.#host.workerId };
  }
}

function textOf(batch: readonly Outgoing<unknown>[]): string {
  return `[${batch.map(({ text }) => text).join(',')}]`;
}

/** Whether the error is about what a result says: the same result will be refused again. */
function isRefusal({ status, code = '' }: CallError): boolean {
  return status === 413 || /^(22|54)...$/.test(code);
}

/** Whether the database says that a task is not ours, or that there is none. */
function isForbidden({ code }: CallError): boolean {
  return code === '42501' || code === 'PT404';
}

/** Whether the call was given up since it took too long or too much: some of its runs may be locked by others. */
function isSlow({ status, code = '' }: CallError): boolean {
  return status === 408 || status === 504 || /^(57014|55P03|53200|ETIMEDOUT)$/.test(code);
}

function asCallError(thrown: unknown): CallError {
  if (thrown instanceof CallError) return thrown;
  return new CallError(thrown instanceof Error ? thrown.message : String(thrown), { isTransient: true, cause: thrown });
}
