/** How a flow is known, also when a program has loaded two copies of this package. */
import type { AnyFlow } from './flow.js';

export const brand = Symbol.for('pgflow.flow');

/** Whether `value` is a flow, also one of another copy of this package. */
export function isFlow(value: unknown): value is AnyFlow {
  return typeof value === 'object' && value !== null && brand in value;
}
