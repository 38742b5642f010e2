/** What a handler is told about its task, made of the task as it was claimed. */

import type { ClaimedTask } from './connection.js';
import type { StepContext } from './context.js';

/** `signal` is asked when a handler asks: most never do, and an AbortSignal costs more than the rest of a short task. */
export function stepContext(task: Omit<ClaimedTask, 'input' | 'leaseMs'>, signal: () => AbortSignal): StepContext {
  const { runId, flowSlug, stepSlug, taskIndex, attempt, lease } = task;
  return {
    runId,
    flowSlug,
    stepSlug,
    taskIndex,
    attempt,
    lease,
    get signal() {
      return signal();
    },
    idempotencyKey: `${runId}/${stepSlug}/${taskIndex}`,
    // The run is the trace, as it is for HTTP steps; a lease is random, so it names the attempt as a span.
    traceparent: `00-${runId.replaceAll('-', '')}-${lease.toString(16).padStart(16, '0')}-01`,
  };
}

/** For messages: which task. */
export function nameOf(task: Omit<ClaimedTask, 'input' | 'leaseMs' | 'lease'>): string {
  return `${task.flowSlug}.${task.stepSlug}[${task.taskIndex}] of run ${task.runId}, attempt ${task.attempt},`;
}
