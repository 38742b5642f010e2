/** What became of tasks, as the elements of the array that `settle_step_tasks` takes. */

import type { TaskRef } from './connection.js';
import { jsonProblem } from './json.js';
import { storable } from './worker-errors.js';
import type { Failure } from './worker-errors.js';

/** As many results as a call takes. */
export const MOST_RESULTS = 1_000;

/** As much text as one call should have: gateways limit the size of requests. One result may be larger. */
const MOST_TEXT = 4_000_000;

/** What became of an attempt. */
export type Outcome =
  | { status: 'completed'; output: string }
  | { status: 'failed'; failure: Failure }
  | { status: 'released' };

/**
 * The output of a handler as JSON text, or what keeps it from being JSON. Nothing returned is `null`; what
 * `JSON.stringify` leaves out or converts is left out or converted.
 */
export function outputText(value: unknown): { text: string } | { problem: string } {
  if (value === undefined) return { text: 'null' };
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    return { problem: short(jsonProblem(value) ?? (error as Error).message) };
  }
  if (text === undefined) return { problem: short(jsonProblem(value) ?? `a ${typeof value} is not JSON`) };
  // Escapes that a jsonb refuses; the first look is cheap, and wrong only for text that talks about escapes.
  if (/\\u(0000|d[89a-f])/i.test(text)) {
    const problem = jsonProblem(JSON.parse(text));
    if (problem !== undefined) return { problem: short(problem) };
  }
  return { text };
}

/** The path to a problem may be very long. */
function short(problem: string): string {
  return problem.length <= 400 ? problem : `${problem.slice(0, 200)} … ${problem.slice(-200)}`;
}

/** An outcome as an element of the array. */
export function resultText(task: TaskRef, outcome: Outcome): string {
  const { runId, stepSlug, taskIndex, lease } = task;
  // What is not a number becomes NaN, which is not JSON: nobody settles without the lease by mistake.
  const proof = (lease as number | null) === null ? 'null' : Number(lease);
  const start = `{"run_id":${JSON.stringify(runId)},"step_slug":${JSON.stringify(stepSlug)},"task_index":${Number(taskIndex)},"lease":${proof},`;
  switch (outcome.status) {
    case 'completed':
      return `${start}"output":${outcome.output}}`;
    case 'released':
      return `${start}"release":true}`;
    case 'failed': {
      const { message, retryable, retryAfter } = outcome.failure;
      const after = retryAfter === undefined ? '' : `,"retry_after":${Math.min(retryAfter, 1_500_000_000)}`;
      return `${start}"error_message":${JSON.stringify(storable(message))},"retryable":${retryable}${after}}`;
    }
  }
}

/** As many of the first results as one call should take. */
export function batchLength(results: readonly { text: string }[]): number {
  let length = 0;
  let size = 0;
  for (const { text } of results) {
    size += text.length;
    if (length === MOST_RESULTS || (length > 0 && size > MOST_TEXT)) break;
    length++;
  }
  return length;
}
