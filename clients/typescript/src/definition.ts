/**
 * What a flow and its steps may be: the rules of `define_flow`, checked while a flow is built, so that a mistake is found
 * before anything reaches a database and with the name of the step it is in.
 *
 * What only the server can know, such as whether a function exists, is left to it.
 */
import { isFlow } from './brand.js';
import type { AnyFlow, FlowOptions, StepDefinition, StepDefinitionOptions } from './flow.js';
import type { Executor } from './inference.js';
import { jsonProblem, textProblem } from './json.js';

/** A flow or a step that cannot be. The message says everything that is wrong with it. */
export class FlowDefinitionError extends TypeError {
  override readonly name = 'FlowDefinitionError';
  /** The flow, as far as it has a name. */
  readonly flowSlug: string | undefined;
  /** The step, if the fault is in one. */
  readonly stepSlug: string | undefined;
  /** Each fault by itself. */
  readonly problems: readonly string[];

  constructor(flowSlug: string | undefined, stepSlug: string | undefined, problems: readonly string[]) {
    const flow = flowSlug === undefined ? 'flow' : `flow ${quoted(flowSlug)}`;
    const where = stepSlug === undefined ? flow : `${flow}, step ${quoted(stepSlug)}`;
    super(problems.length === 1 ? `${where}: ${problems[0]}` : `${where}:\n${problems.map((one) => `  - ${one}`).join('\n')}`);
    this.flowSlug = flowSlug;
    this.stepSlug = stepSlug;
    this.problems = problems;
  }
}

/** Fifty years, which no sum of two overflows. */
const MOST_SECONDS = 50 * 366 * 86_400;
const MOST_STEPS = 20_000;
const MOST_INT = 2 ** 31 - 1;

const EXECUTORS = ['worker', 'sql', 'http', 'flow', 'external', 'timer'];
const RESORTS = ['fail', 'skip', 'skip-cascade'];

/** A rule about a value: what is wrong with it, if anything is. */
type Rule = (value: unknown) => string | undefined;

const FLOW_RULES: Record<string, Rule> = {
  slug: slugProblem,
  input: anything,
  description: text,
  maxAttempts: whole(1, MOST_INT),
  baseDelay: whole(0, MOST_SECONDS),
  maxDelay: whole(0, MOST_SECONDS),
  timeout: whole(1, MOST_SECONDS),
  runTimeout: whole(1, MOST_SECONDS),
  executor: oneOf(EXECUTORS),
  target: text,
  outputStepSlug: slugProblem,
};

const STEP_RULES: Record<string, Rule> = {
  slug: slugProblem,
  dependsOn: anything,
  output: anything,
  executor: oneOf(EXECUTORS),
  target: anything,
  queue: queueName,
  startMode: oneOf(['auto', 'manual']),
  maxAttempts: whole(1, MOST_INT),
  baseDelay: whole(0, MOST_SECONDS),
  timeout: whole(1, MOST_SECONDS),
  startDelay: whole(0, MOST_SECONDS),
  requiredInputPattern: pattern,
  forbiddenInputPattern: pattern,
  whenUnmet: oneOf(RESORTS),
  whenExhausted: oneOf(RESORTS),
  mapOver: text,
};

/** The options of a flow that are the flow's own and its steps' alike are kept apart from these. */
const NOT_KEPT = new Set(['slug', 'input', 'output', 'dependsOn', 'executor', 'target', 'queue']);

/** The options of a new flow, checked and frozen. */
export function checkFlow(given: unknown): { slug: string; options: FlowOptions } {
  const options = asOptions(given, undefined, 'new Flow() takes an object with a slug');
  const problems = against(FLOW_RULES, options, 'flow');
  if (options['slug'] === undefined) problems.push('slug: missing');
  const slug = shown(options['slug']);
  if (problems.length > 0) throw new FlowDefinitionError(slug, undefined, problems);
  const kept = Object.entries(options).filter(([name, value]) => value !== undefined && name !== 'slug' && name !== 'input');
  return { slug: slug as string, options: Object.freeze(Object.fromEntries(kept)) };
}

/** A step that is to be added to a flow, checked and frozen, with what it takes from the flow. */
export function checkStep(flow: AnyFlow, type: 'single' | 'map', given: object, handler: unknown): StepDefinition {
  const options = asOptions(given, flow.slug, `.${type === 'map' ? 'map' : 'step'}() takes an object with a slug`);
  const problems = against(STEP_RULES, options, 'step');
  const slug = shown(options['slug']);
  if (slug === undefined) problems.push('slug: missing');
  if (flow.steps.some((step) => step.slug === slug)) problems.push(`the flow has a step ${quoted(slug)} already`);
  if (flow.steps.length >= MOST_STEPS) problems.push(`a flow has at most ${MOST_STEPS.toLocaleString('en')} steps`);

  const dependsOn = checkDeps(flow, options['dependsOn'], problems);
  checkMapOver(type, dependsOn, options['mapOver'], problems);

  const inherited = flow.options.executor ?? 'worker';
  const executor = (options['executor'] ?? inherited) as Executor;
  let target = options['target'];
  // What one executor calls means nothing to another; null says that there is none.
  if (target === undefined && (executor === inherited || executor === 'worker')) target = flow.options.target;
  if (target === null) target = undefined;
  if (isFlow(target)) {
    if (executor !== 'flow') problems.push(`target: a flow is the target of executor "flow" and not of ${quoted(executor)}`);
    target = target.slug;
  }
  if (target !== undefined && typeof target !== 'string') problems.push('target: not a string');
  else problems.push(...targetProblems(executor, target, type, dependsOn));

  if (handler !== undefined && typeof handler !== 'function') problems.push('the handler is not a function');
  if (handler !== undefined && executor !== 'worker' && executor !== 'http') {
    problems.push(`a step of executor ${quoted(executor)} has no handler`);
  }
  if (problems.length > 0) throw new FlowDefinitionError(flow.slug, slug, problems);

  const kept = Object.entries(options).filter(([name, value]) => value !== undefined && !NOT_KEPT.has(name));
  const step: { -readonly [K in keyof StepDefinition]: StepDefinition[K] } = {
    slug: slug as string,
    type,
    executor,
    dependsOn: Object.freeze(dependsOn),
    options: frozenCopy(Object.fromEntries(kept)) as StepDefinitionOptions,
  };
  if (target !== undefined) step.target = target as string;
  if (options['queue'] !== undefined) step.queue = options['queue'] as string;
  if (handler !== undefined) step.handler = handler as NonNullable<StepDefinition['handler']>;
  return Object.freeze(step);
}

/** That the output step is there. */
export function checkOutput(flow: AnyFlow, slug: unknown): void {
  if (flow.steps.some((step) => step.slug === slug)) return;
  throw new FlowDefinitionError(flow.slug, undefined, [`there is no step ${quoted(slug)} to be the output; ${stepsOf(flow)}`]);
}

function asOptions(given: unknown, flowSlug: string | undefined, otherwise: string): Record<string, unknown> {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Record<string, unknown>;
  throw new FlowDefinitionError(flowSlug, undefined, [otherwise]);
}

/** What is wrong with each option by itself. */
function against(rules: Record<string, Rule>, options: Record<string, unknown>, what: string): string[] {
  const problems: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      problems.push(`${name}: unknown option of a ${what}; there are ${Object.keys(rules).join(', ')}`);
    } else if (value !== undefined) {
      const found = rule(value);
      if (found !== undefined) problems.push(`${name}: ${found}`);
    }
  }
  return problems;
}

function checkDeps(flow: AnyFlow, given: unknown, problems: string[]): string[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) {
    problems.push('dependsOn: not an array of slugs');
    return [];
  }
  const seen = new Set<unknown>();
  for (const dep of given) {
    if (!flow.steps.some((step) => step.slug === dep)) problems.push(`dependsOn: unknown dep ${quoted(dep)}; ${stepsOf(flow)}`);
    else if (seen.has(dep)) problems.push(`dependsOn: duplicate dep ${quoted(dep)}`);
    seen.add(dep);
  }
  return [...given];
}

function checkMapOver(type: 'single' | 'map', dependsOn: string[], over: unknown, problems: string[]): void {
  if (type === 'single') {
    if (over !== undefined) problems.push('mapOver: the step is no map');
  } else if (over === undefined) {
    if (dependsOn.length > 1) problems.push('mapOver: missing; a map with several deps says which of them it goes over');
  } else if (!dependsOn.includes(over as string)) {
    problems.push(`mapOver: ${quoted(over)} is not a dep of the step`);
  }
}

function targetProblems(executor: Executor, target: string | undefined, type: 'single' | 'map', dependsOn: string[]): string[] {
  const found = targetProblem(executor, target, type, dependsOn);
  return found === undefined ? [] : [`target: ${found}`];
}

function targetProblem(executor: Executor, target: string | undefined, type: 'single' | 'map', dependsOn: string[]): string | undefined {
  switch (executor) {
    case 'sql':
      if (!target) return 'missing; executor "sql" calls a function, "schema.name"';
      return FUNCTION_NAME.test(target) ? undefined : `${quoted(target)} is not the name of a function, "schema.name"`;
    case 'http':
      if (!target) return 'missing; executor "http" calls a URL';
      return urlProblem(target);
    case 'flow':
      if (!target) return 'missing; executor "flow" runs a flow';
      return slugProblem(target);
    case 'external':
      return target === undefined ? undefined : eventName(target);
    case 'timer':
      return target === undefined ? undefined : pointerProblem(target, type, dependsOn);
    default:
      return target === undefined ? undefined : text(target);
  }
}

/** Two identifiers, as SQL writes them. */
const IDENTIFIER = String.raw`(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)`;
const FUNCTION_NAME = new RegExp(String.raw`^\s*${IDENTIFIER}\s*\.\s*${IDENTIFIER}\s*$`);

function urlProblem(target: string): string | undefined {
  // A URL may have a token in it: it is not repeated.
  let url: URL;
  try {
    url = new URL(target);
  } catch {
    return 'not a URL';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return `scheme ${quoted(url.protocol.slice(0, -1))} is neither http nor https`;
  if (url.username !== '' || url.password !== '') return 'a URL with a user name or a password';
  return undefined;
}

function pointerProblem(target: string, type: 'single' | 'map', dependsOn: string[]): string | undefined {
  if (!/^(?:\/(?:[^~/]|~[01])*)+$/.test(target)) return `${quoted(target)} is no JSON pointer into the input, such as "/run/remind_at"`;
  const first = (target.split('/')[1] ?? '').replaceAll('~1', '/').replaceAll('~0', '~');
  const members = type === 'map' ? ['item', 'index'] : ['run', ...dependsOn];
  return members.includes(first) ? undefined : `the input of the step has no member ${quoted(first)}; it has ${members.map(quoted).join(', ')}`;
}

function anything(): undefined {
  return undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? textProblem(value) : 'not a string';
}

/** What keeps a text from being a slug. */
export function slugProblem(value: unknown): string | undefined {
  if (value === 'run' || value === 'item') return `${quoted(value)} is reserved: it is a key of every input`;
  if (typeof value === 'string' && /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(value)) return undefined;
  return `${quoted(value)} is not a slug: 1 to 128 ASCII letters, digits and underscores, not beginning with a digit`;
}

function queueName(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'not a string';
  const right = [...value].length >= 1 && [...value].length <= 128 && !/\p{Cc}/u.test(value);
  return right ? text(value) : `${quoted(value)} is not the name of a queue: 1 to 128 characters, none of them a control character`;
}

function eventName(value: string): string | undefined {
  const bytes = new TextEncoder().encode(value).length;
  const right = bytes >= 1 && bytes <= 1024 && !/\p{Cc}/u.test(value);
  return right ? text(value) : `${quoted(value)} is not the name of an event: 1 to 1,024 bytes, without control characters`;
}

function pattern(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not an object';
  return jsonProblem(value);
}

function whole(least: number, most: number): Rule {
  return (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value)) return `${quoted(value)} is not a whole number`;
    if (value < least) return `${value} is less than ${least}`;
    return value > most ? `${value} is more than ${most}` : undefined;
  };
}

function oneOf(values: readonly string[]): Rule {
  return (value) => (values.includes(value as string) ? undefined : `${quoted(value)} is none of ${values.map(quoted).join(', ')}`);
}

/** A copy that nobody can change later; without properties that are undefined, as JSON has it. */
function frozenCopy(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.freeze(Object.fromEntries(members.map(([key, member]) => [key, frozenCopy(member)])));
}

function stepsOf(flow: AnyFlow): string {
  const slugs = flow.steps.map((step) => quoted(step.slug));
  if (slugs.length === 0) return 'the flow has no steps yet';
  const more = slugs.length > 20 ? `, and ${slugs.length - 20} more` : '';
  return `the steps so far are ${slugs.slice(0, 20).join(', ')}${more}`;
}

function shown(slug: unknown): string | undefined {
  return typeof slug === 'string' ? slug : undefined;
}

/** A value in a message: short, on one line. */
function quoted(value: unknown): string {
  const said = typeof value === 'string' || typeof value === 'number' ? JSON.stringify(value) : String(value);
  return said.length > 80 ? `${said.slice(0, 80)}…` : said;
}
