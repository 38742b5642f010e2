/**
 * What a handler is told about the task it does, besides its input.
 *
 * A task may be done more than once: after a crash, or when its lease ran out too early. Whatever a handler does outside
 * the database should carry `idempotencyKey`, so that doing it again changes nothing.
 */
export interface StepContext {
  /** The run, a UUID. */
  runId: string;
  flowSlug: string;
  stepSlug: string;
  /** 0 for a single step; the place of the element for a map. */
  taskIndex: number;
  /** 1 for the first try; goes on counting when the run is retried. */
  attempt: number;
  /** The number that proves that the task is this worker's. */
  lease: number;
  /** Aborted when the work is in vain: the run was cancelled or failed, the lease is lost, or the worker has to stop now. */
  signal: AbortSignal;
  /** `<run>/<step>/<index>`: the same for every attempt at this task. */
  idempotencyKey: string;
  /** W3C Trace Context: the run is the trace, so that whatever is traced falls into one trace for the whole run. */
  traceparent: string;
}
