/**
 * A flow as the database takes it: the document of `define_flow`, and a migration that applies it.
 */
import { checkOutput } from './definition.js';
import type { AnyFlow, StepDefinition } from './flow.js';
import type { Executor, Resort } from './inference.js';
import type { JsonObject } from './json.js';

/** The document of `define_flow`. Fields that are absent have the defaults that docs/definition.md lists. */
export interface FlowDocument {
  flow_slug: string;
  description?: string;
  max_attempts?: number;
  base_delay?: number;
  max_delay?: number;
  timeout?: number;
  run_timeout?: number;
  output_step_slug?: string;
  executor?: Executor;
  target?: string;
  steps: StepDocument[];
}

/** A step in the document of `define_flow`. */
export interface StepDocument {
  step_slug: string;
  deps_slugs?: string[];
  step_type?: 'map';
  map_over?: string;
  executor?: Executor;
  /** null: none, whatever the flow says. */
  target?: string | null;
  queue?: string;
  start_mode?: 'auto' | 'manual';
  max_attempts?: number;
  base_delay?: number;
  timeout?: number;
  start_delay?: number;
  required_input_pattern?: JsonObject;
  forbidden_input_pattern?: JsonObject;
  when_unmet?: Resort;
  when_exhausted?: Resort;
}

/**
 * The document of `define_flow`, which says nothing that is said by leaving it out.
 *
 * @throws FlowDefinitionError when the flow names an output step that it does not have
 */
export function toDefinition(flow: AnyFlow): FlowDocument {
  const { options } = flow;
  if (options.outputStepSlug !== undefined) checkOutput(flow, options.outputStepSlug);
  return withoutAbsent<FlowDocument>({
    flow_slug: flow.slug,
    description: options.description,
    max_attempts: options.maxAttempts,
    base_delay: options.baseDelay,
    max_delay: options.maxDelay,
    timeout: options.timeout,
    run_timeout: options.runTimeout,
    output_step_slug: options.outputStepSlug,
    executor: options.executor,
    target: options.target,
    steps: flow.steps.map((step) => stepDocument(flow, step)),
  });
}

function stepDocument(flow: AnyFlow, step: StepDefinition): StepDocument {
  const { options } = step;
  const inherited = flow.options.executor ?? 'worker';
  // define_flow gives the flow's target to steps of the flow's executor, and to those of workers.
  const inheritedTarget = step.executor === inherited || step.executor === 'worker' ? flow.options.target : undefined;
  return withoutAbsent<StepDocument>({
    step_slug: step.slug,
    deps_slugs: step.dependsOn.length > 0 ? [...step.dependsOn] : undefined,
    step_type: step.type === 'map' ? 'map' : undefined,
    map_over: options.mapOver,
    executor: step.executor === inherited ? undefined : step.executor,
    target: step.target === inheritedTarget ? undefined : (step.target ?? null),
    queue: step.queue,
    start_mode: options.startMode,
    max_attempts: options.maxAttempts,
    base_delay: options.baseDelay,
    timeout: options.timeout,
    start_delay: options.startDelay,
    required_input_pattern: options.requiredInputPattern,
    forbidden_input_pattern: options.forbiddenInputPattern,
    when_unmet: options.whenUnmet,
    when_exhausted: options.whenExhausted,
  });
}

/**
 * A migration that makes the flow what the code says. Applying it again changes nothing; applying it where the flow has
 * another shape changes it, as a new version if there are runs. A line for each step, so that a diff reads well.
 *
 * @throws FlowDefinitionError when the flow names an output step that it does not have
 */
export function toSql(flow: AnyFlow): string {
  const { steps, ...options } = toDefinition(flow);
  const fields = Object.entries(options).map(([name, value]) => `  ${json(name)}: ${json(value)}`);
  const lines = steps.map((step) => `    ${json(step)}`);
  fields.push(lines.length > 0 ? `  "steps": [\n${lines.join(',\n')}\n  ]` : '  "steps": []');
  return [
    `-- Flow ${flow.slug}, written by pgflow compile. Applying it again changes nothing.`,
    `SELECT flow_slug, version, changed FROM pgflow.define_flow(${dollarQuoted(`{\n${fields.join(',\n')}\n}`)});`,
    '',
  ].join('\n');
}

/**
 * JSON on one line, with a space behind colons and commas. Characters that an editor or a terminal would not show, or
 * would show somewhere else, are escaped.
 */
function json(value: unknown): string {
  let text: string;
  if (Array.isArray(value)) text = `[${value.map(json).join(', ')}]`;
  else if (typeof value === 'object' && value !== null) {
    text = `{${Object.entries(value).map(([key, member]) => `${json(key)}: ${json(member)}`).join(', ')}}`;
  } else text = JSON.stringify(value);
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, n) => `\\u${character.charCodeAt(n).toString(16).padStart(4, '0')}`).join(''));
}

/** A text between dollar quotes of which it contains none. */
function dollarQuoted(text: string): string {
  let tag = '$pgflow$';
  for (let n = 1; text.includes(tag); n++) tag = `$pgflow${n}$`;
  return `${tag}${text}${tag}`;
}

/** Without the fields that are undefined. */
function withoutAbsent<T>(fields: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
