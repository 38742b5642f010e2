/**
 * What `define_flow` would change: the stored definition of a flow, as `flow_graph` returns it, beside a document.
 *
 * Two definitions are the same when all fields are, with defaults filled in and deps in whatever order. The order of
 * steps is no part of it.
 */
import type { FlowDocument, StepDocument } from './compile.js';

/** A field that is another one; a step that only one side has is `null` on the other. */
export interface Change {
  /** Absent: a field of the flow itself. */
  step_slug?: string;
  /** Absent: the whole step. */
  field?: string;
  from: unknown;
  to: unknown;
}

/** The parts of `flow_graph` that a document can say. */
export type StoredFlow = Record<string, unknown> & { steps: (Record<string, unknown> & { step_slug: string })[] };

/** The fields of a flow with their defaults. */
const FLOW_DEFAULTS: Record<string, unknown> = {
  description: null,
  max_attempts: 3,
  base_delay: 5,
  max_delay: 3600,
  timeout: 60,
  run_timeout: null,
  output_step_slug: null,
  executor: 'worker',
  target: null,
};

/** Those of a step; null where the flow's counts. */
function stepDefaults(flowSlug: string): Record<string, unknown> {
  return {
    deps_slugs: [],
    step_type: 'single',
    map_over: null,
    executor: 'worker',
    target: null,
    queue: flowSlug,
    start_mode: 'auto',
    max_attempts: null,
    base_delay: null,
    timeout: null,
    start_delay: null,
    required_input_pattern: null,
    forbidden_input_pattern: null,
    when_unmet: 'skip',
    when_exhausted: 'fail',
  };
}

/** What would change; empty if nothing would. The flow's own fields first, then steps in the order of the document. */
export function difference(stored: StoredFlow | undefined, wanted: FlowDocument): Change[] {
  const changes: Change[] = [];
  const defaults = stepDefaults(wanted.flow_slug);
  const fields = { ...FLOW_DEFAULTS, ...wanted };
  if (stored !== undefined) {
    for (const field of Object.keys(FLOW_DEFAULTS)) {
      compare(changes, { field }, stored[field], fields[field as keyof FlowDocument]);
    }
  }
  const before = new Map((stored?.steps ?? []).map((step) => [step.step_slug, step]));
  for (const step of wanted.steps) {
    const to = whole(step, fields as FlowDocument, defaults);
    const from = before.get(step.step_slug);
    if (from === undefined) changes.push({ step_slug: step.step_slug, from: null, to: step });
    else for (const field of Object.keys(defaults)) compare(changes, { step_slug: step.step_slug, field }, from[field], to[field]);
    before.delete(step.step_slug);
  }
  for (const [step_slug, step] of before) {
    const said = Object.entries(step).filter(([field, value]) => field in defaults && !same(value, defaults[field]));
    changes.push({ step_slug, from: { step_slug, ...Object.fromEntries(said) }, to: null });
  }
  return changes;
}

/** Whether a change makes another version of a flow whose latest one is frozen. The description is no part of it. */
export function changesShape(change: Change): boolean {
  return change.step_slug !== undefined || change.field !== 'description';
}

/** A step with everything filled in, as the database would store it. */
function whole(step: StepDocument, flow: FlowDocument, defaults: Record<string, unknown>): Record<string, unknown> {
  const executor = step.executor ?? flow.executor;
  const inherits = step.target === undefined && (executor === flow.executor || executor === 'worker');
  const deps = [...(step.deps_slugs ?? [])].sort();
  return {
    ...defaults,
    ...step,
    executor,
    target: (inherits ? flow.target : step.target) ?? null,
    deps_slugs: deps,
    map_over: step.map_over ?? (step.step_type === 'map' ? deps[0] : undefined) ?? null,
  };
}

function compare(changes: Change[], place: { step_slug?: string; field: string }, from: unknown, to: unknown): void {
  if (!same(from ?? null, to ?? null)) changes.push({ ...place, from: from ?? null, to: to ?? null });
}

/** Whether two JSON values are equal; the order of members does not count. */
function same(one: unknown, other: unknown): boolean {
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return one === other;
  if (Array.isArray(one) || Array.isArray(other)) {
    return Array.isArray(one) && Array.isArray(other) && one.length === other.length && one.every((value, n) => same(value, other[n]));
  }
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && same(one[key as never], other[key as never]));
}
