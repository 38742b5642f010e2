/**
 * Where a run stands, as far as a client knows: put together of whole states and of messages that may come twice, late,
 * or not at all. No network here.
 *
 * A run and its steps only go forward (pending, started, ended), but for `retry_run`, which sets a run back. So whatever
 * would go back is old news, or a retry: then the state has to be read again, which settles it.
 */

import type { Json } from './json.js';

export type RunStatus = 'pending' | 'started' | 'completed' | 'failed' | 'cancelled';
export type StepStatus = 'pending' | 'started' | 'completed' | 'failed' | 'skipped' | 'cancelled';

/** A run, as `get_run` has it. Times are ISO 8601. */
export interface RunInfo<Output = Json> {
  readonly runId: string;
  readonly flowSlug: string;
  readonly flowVersion: number;
  readonly status: RunStatus;
  readonly payload: Json;
  readonly output: Output | null;
  readonly errorMessage: string | null;
  readonly key: string | null;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

/** A step of a run. */
export interface StepInfo<Output = Json> {
  readonly slug: string;
  readonly status: StepStatus;
  readonly type: 'single' | 'map';
  readonly executor: string;
  readonly dependsOn: readonly string[];
  readonly output: Output | null;
  readonly errorMessage: string | null;
  readonly skipReason: string | null;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** How many tasks it has; `null` before it starts. */
  readonly tasks: number | null;
  /** How many of them had completed when the state was last read as a whole. */
  readonly completedTasks: number;
  /** Attempts at its tasks so far, and how many of them failed or expired; as of then. */
  readonly attempts: number;
  readonly failedAttempts: number;
}

/** Something that happened to the run, or to one of its steps. */
export type Change =
  | { readonly kind: 'run'; readonly status: RunStatus; readonly at: string | null; readonly run: RunInfo }
  | { readonly kind: 'step'; readonly status: StepStatus; readonly at: string | null; readonly step: StepInfo };

/** What `get_run` returns, as far as it is used. */
export interface RunState {
  run: {
    run_id: string;
    flow_slug: string;
    flow_version: number;
    status: RunStatus;
    payload: Json;
    output: Json;
    error_message: string | null;
    key: string | null;
    created_at: string;
    started_at: string | null;
    finished_at: string | null;
  };
  steps: {
    step_slug: string;
    status: StepStatus;
    step_type: 'single' | 'map';
    executor: string;
    deps_slugs: string[];
    output: Json;
    error_message: string | null;
    skip_reason: string | null;
    started_at: string | null;
    finished_at: string | null;
    initial_tasks: number | null;
    completed_tasks: number | null;
    attempts: number | null;
    failed_attempts: number | null;
  }[];
}

/** A message of `docs/realtime.md`. */
export interface Message {
  event_type: string;
  run_id: string;
  step_slug?: string;
  status: string;
  started_at?: string;
  finished_at?: string;
  output?: Json;
  error_message?: string;
  skip_reason?: string;
  fetch?: boolean;
}

/** What a message or a state led to: changes to tell, in order; or `read`: only the whole state can say. */
export type Learned = readonly Change[] | 'read';

export class KnownRun {
  run: RunInfo | undefined;
  steps: readonly StepInfo[] = [];

  /**
   * Takes a state that was asked for after everything that is known was learned: it is how things stand. Returns what has
   * changed, steps that were passed through included.
   */
  replace(state: RunState): readonly Change[] {
    const run = runInfo(state);
    const changes: Change[] = [];
    const known = new Map(this.steps.map((step) => [step.slug, step]));
    this.steps = state.steps.map((row) => {
      const before = known.get(row.step_slug);
      const step = stepInfo(row);
      if (before !== undefined && sameStep(before, step)) return before;
      changes.push(...stepChanges(before, step));
      return step;
    });
    // A step ends at the moment at which the next one starts.
    changes.sort((a, b) => micros(a.at) - micros(b.at) || rank(b.status) - rank(a.status));
    const [started, ended] = runChanges(this.run, run);
    if (started !== undefined) changes.unshift(started);
    if (ended !== undefined) changes.push(ended);
    if (this.run === undefined || !sameRun(this.run, run)) this.run = run;
    return changes;
  }

  /** Takes a state of which it is not known whether it is newer than what is known. */
  merge(state: RunState): Learned {
    if (this.run === undefined) return this.replace(state);
    const run = runInfo(state);
    if (isBehind(run, this.run) || this.run.status !== run.status && rank(this.run.status) === 2) return 'read';
    const known = new Map(this.steps.map((step) => [step.slug, step]));
    for (const row of state.steps) {
      const before = known.get(row.step_slug);
      if (before === undefined || isBehind(stepInfo(row), before)) return 'read';
    }
    return this.replace(state);
  }

  /** Takes a message. */
  apply(message: Message): Learned {
    if (this.run === undefined) return 'read';
    return message.step_slug === undefined ? this.#applyToRun(this.run, message) : this.#applyToStep(message.step_slug, message);
  }

  #applyToRun(before: RunInfo, message: Message): Learned {
    const status = message.status as RunStatus;
    const isEnd = rank(status) === 2;
    if (rank(before.status) === 2) {
      // Told again, or there has been a retry.
      const isSame = status === before.status && micros(message.finished_at) === micros(before.finishedAt);
      return isSame ? [] : 'read';
    }
    if (!isEnd && before.status === status) return [];
    // A failed or cancelled run may have been retried since; a completed one stays as it is.
    if (isEnd && (status !== 'completed' || message.fetch === true || !('output' in message))) return 'read';
    // The end of a step got lost: there is nobody to tell it any more.
    if (isEnd && this.steps.some((step) => rank(step.status) !== 2)) return 'read';
    this.run = {
      ...before,
      status,
      output: message.output ?? null,
      startedAt: message.started_at ?? before.startedAt,
      finishedAt: message.finished_at ?? null,
    };
    return [{ kind: 'run', status, at: (isEnd ? this.run.finishedAt : this.run.startedAt), run: this.run }];
  }

  #applyToStep(slug: string, message: Message): Learned {
    const status = message.status as StepStatus;
    const before = this.steps.find((step) => step.slug === slug);
    if (before === undefined) return 'read';
    if (rank(before.status) > rank(status)) return [];
    if (before.status === status && (rank(status) === 1 || micros(message.finished_at) === micros(before.finishedAt))) return [];
    if (rank(before.status) === 2) return micros(message.finished_at) > micros(before.finishedAt) ? 'read' : [];
    if (message.fetch === true) return 'read';
    const step: StepInfo = {
      ...before,
      status,
      output: message.output ?? null,
      errorMessage: message.error_message ?? null,
      skipReason: message.skip_reason ?? null,
      startedAt: message.started_at ?? before.startedAt,
      finishedAt: message.finished_at ?? null,
    };
    this.steps = this.steps.map((one) => (one === before ? step : one));
    return stepChanges(before, step);
  }
}

/** Pending, started, ended. */
function rank(status: RunStatus | StepStatus): 0 | 1 | 2 {
  return status === 'pending' ? 0 : status === 'started' ? 1 : 2;
}

/** Whether a run or step would go back. */
function isBehind(
  now: { status: RunStatus | StepStatus; finishedAt: string | null },
  before: { status: RunStatus | StepStatus; finishedAt: string | null },
): boolean {
  if (rank(now.status) !== rank(before.status)) return rank(now.status) < rank(before.status);
  return micros(now.finishedAt) < micros(before.finishedAt);
}

/** What happened between two states of a step, at most its start and its end. */
function stepChanges(before: StepInfo | undefined, step: StepInfo): Change[] {
  const was = before?.status ?? 'pending';
  if (was === step.status && (before === undefined || micros(before.finishedAt) === micros(step.finishedAt))) return [];
  const end: Change = { kind: 'step', status: step.status, at: step.finishedAt ?? step.startedAt, step };
  // What ended without having been started to our knowledge has been, in between; but for what was over at once, such as
  // a map over nothing.
  const isPassed = rank(was) !== 1 && rank(step.status) === 2 && step.startedAt !== null;
  if (!isPassed || micros(step.startedAt) >= micros(step.finishedAt)) return [end];
  const started: StepInfo = { ...step, status: 'started', output: null, errorMessage: null, skipReason: null, finishedAt: null };
  return [{ kind: 'step', status: 'started', at: step.startedAt, step: started }, end];
}

/** The start and the end of a run, as far as they are between two states. */
function runChanges(before: RunInfo | undefined, run: RunInfo): [Change | undefined, Change | undefined] {
  const was = before?.status ?? 'pending';
  if (was === run.status && (before === undefined || micros(before.finishedAt) === micros(run.finishedAt))) return [undefined, undefined];
  const isEnd = rank(run.status) === 2;
  const end: Change | undefined = isEnd ? { kind: 'run', status: run.status, at: run.finishedAt, run } : undefined;
  if (run.startedAt === null || was === 'started') return [undefined, end];
  const started: RunInfo = isEnd ? { ...run, status: 'started', output: null, errorMessage: null, finishedAt: null } : run;
  return [{ kind: 'run', status: 'started', at: run.startedAt, run: started }, end];
}

function sameStep(a: StepInfo, b: StepInfo): boolean {
  return (
    a.status === b.status &&
    micros(a.startedAt) === micros(b.startedAt) &&
    micros(a.finishedAt) === micros(b.finishedAt) &&
    a.tasks === b.tasks &&
    a.completedTasks === b.completedTasks &&
    a.attempts === b.attempts &&
    a.failedAttempts === b.failedAttempts &&
    a.errorMessage === b.errorMessage &&
    a.executor === b.executor
  );
}

function sameRun(a: RunInfo, b: RunInfo): boolean {
  return (
    a.status === b.status &&
    micros(a.startedAt) === micros(b.startedAt) &&
    micros(a.finishedAt) === micros(b.finishedAt) &&
    a.errorMessage === b.errorMessage
  );
}

function runInfo({ run }: RunState): RunInfo {
  return {
    runId: run.run_id,
    flowSlug: run.flow_slug,
    flowVersion: run.flow_version,
    status: run.status,
    payload: run.payload,
    output: run.output ?? null,
    errorMessage: run.error_message ?? null,
    key: run.key ?? null,
    createdAt: run.created_at,
    startedAt: run.started_at ?? null,
    finishedAt: run.finished_at ?? null,
  };
}

function stepInfo(row: RunState['steps'][number]): StepInfo {
  return {
    slug: row.step_slug,
    status: row.status,
    type: row.step_type,
    executor: row.executor,
    dependsOn: row.deps_slugs,
    output: row.output ?? null,
    errorMessage: row.error_message ?? null,
    skipReason: row.skip_reason ?? null,
    startedAt: row.started_at ?? null,
    finishedAt: row.finished_at ?? null,
    tasks: row.initial_tasks ?? null,
    completedTasks: row.completed_tasks ?? 0,
    attempts: row.attempts ?? 0,
    failedAttempts: row.failed_attempts ?? 0,
  };
}

/** A time in microseconds since 1970; `-Infinity` for none. A Date keeps milliseconds only. */
export function micros(text: string | null | undefined): number {
  const found = /^(.*?)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d(?::?\d\d)?)?$/.exec(text ?? '');
  if (found === null || !text) return -Infinity;
  const [, seconds = '', fraction = '', zone = 'Z'] = found;
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone;
  return Date.parse(seconds.replace(' ', 'T') + offset) * 1_000 + Number(fraction.padEnd(6, '0'));
}
