/**
 * The errors by which a handler says what is to become of its task, and those that it may meet as the reason of its
 * abort signal.
 */

/**
 * Fails the attempt for good: no other attempt is made, and the step's `when_exhausted` decides. For what another
 * attempt cannot mend: a malformed input, an order that is gone.
 */
export class NonRetryableError extends Error {
  override readonly name: string = 'NonRetryableError';
  readonly retryable = false;
}

/** Fails the attempt, and says when the next one may be made: `seconds` from now, instead of the step's `base_delay`. */
export class RetryAfterError extends Error {
  override readonly name: string = 'RetryAfterError';
  /** Whole seconds, 0 or more. */
  readonly retryAfter: number;

  constructor(seconds: number, message = `try again in ${seconds} s`, options?: ErrorOptions) {
    super(message, options);
    if (!(seconds >= 0) || !Number.isFinite(seconds)) throw new RangeError(`retry after ${seconds} seconds is out of range`);
    this.retryAfter = Math.ceil(seconds);
  }
}

/**
 * The task is no longer this worker's: its run was cancelled or has failed, or another worker has it since its lease ran
 * out. The reason of `context.signal`; whatever the handler returns then is thrown away.
 */
export class LeaseLostError extends Error {
  override readonly name: string = 'LeaseLostError';
  /** What the run came to, as far as it is known: `cancelled`, `failed`, `started`. */
  readonly runStatus: string | null;
  /** What the task came to. */
  readonly taskStatus: string | null;

  constructor(runStatus: string | null, taskStatus: string | null) {
    super(
      runStatus === 'cancelled' || runStatus === 'failed'
        ? `the run is ${runStatus}`
        : 'the lease ran out, and the task is no longer this worker\'s',
    );
    this.runStatus = runStatus;
    this.taskStatus = taskStatus;
  }
}

/** The worker stops and cannot wait any longer; the task is handed back. The reason of `context.signal`. */
export class WorkerStoppedError extends Error {
  override readonly name: string = 'WorkerStoppedError';

  constructor() {
    super('the worker stops, and its tasks are handed back');
  }
}

/** The handler took longer than the worker's `maxTaskSeconds`. The reason of `context.signal`. */
export class TaskTimeoutError extends Error {
  override readonly name: string = 'TaskTimeoutError';

  constructor(seconds: number) {
    super(`the handler did not end within ${seconds} s`);
  }
}

/** What an error says about its task; anything may be thrown. */
export interface Failure {
  /** For `step_tasks.error_message`. */
  message: string;
  retryable: boolean;
  /** Seconds, when the error says it. */
  retryAfter: number | undefined;
}

/** As much of a message as is kept. */
const LONGEST_MESSAGE = 8_000;

/** As many frames of a stack as are kept of an error and of each of its causes. */
const MOST_FRAMES = 8;

/**
 * Reads an error. Its message is `Name: message`, then, unless `withStack` is false, the frames of its stack that are not
 * of the platform, and the same of its causes. `retryable: false` and `retryAfter` (seconds) count on any error. Never throws.
 */
export function readFailure(error: unknown, withStack = true): Failure {
  const retryAfter = property(error, 'retryAfter');
  const seconds =
    typeof retryAfter === 'number' && retryAfter >= 0 && Number.isFinite(retryAfter) ? Math.ceil(retryAfter) : undefined;
  return { message: describe(error, withStack), retryable: property(error, 'retryable') !== false, retryAfter: seconds };
}

function describe(error: unknown, withStack: boolean): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  for (let at = error; at !== undefined && at !== null && !seen.has(at) && parts.length < 5; ) {
    seen.add(at);
    const said = typeof at === 'object' ? property(at, 'message') : undefined;
    let text = said === undefined ? notAnError(at) : `${textOf(property(at, 'name') || 'Error')}: ${textOf(said)}`;
    const stack = said === undefined ? undefined : property(at, 'stack');
    if (withStack && typeof stack === 'string') text += frames(stack);
    parts.push(parts.length === 0 ? text : `caused by ${text}`);
    at = said === undefined ? undefined : property(at, 'cause');
  }
  if (parts.length === 0) parts.push(`${String(error)} was thrown`);
  return storable(parts.join('\n').slice(0, LONGEST_MESSAGE));
}

/** A property of whatever was thrown; `undefined` too if it cannot be read. */
function property(of: unknown, name: string): unknown {
  if (typeof of !== 'object' || of === null) return undefined;
  try {
    return (of as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

function notAnError(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  try {
    return JSON.stringify(thrown) ?? String(thrown);
  } catch {
    return textOf(thrown);
  }
}

/** Anything as text; not everything can be made one. */
function textOf(value: unknown): string {
  try {
    return typeof value === 'object' ? Object.prototype.toString.call(value) : String(value);
  } catch {
    return 'something that cannot be shown';
  }
}

function frames(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => /^\s+at |@/.test(line) && !/\(node:|\bat node:|\binternal\/|<anonymous>\)?$/.test(line))
    .slice(0, MOST_FRAMES)
    .map((line) => `\n    ${line.trim()}`)
    .join('');
}

/** A text without what `jsonb` cannot hold. */
export function storable(text: string): string {
  return text
    .replaceAll('\0', '\uFFFD')
    .replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD');
}
