/**
 * Flows as code: `new Flow<Input>({ slug }).step(…).map(…)`.
 *
 * A flow is immutable: each method returns another flow with one more step, whose type knows the new step. What is wrong
 * with a step is a compile error, and a `FlowDefinitionError` for programs that are not type-checked, both before
 * anything reaches a database.
 */
import { brand } from './brand.js';
import type { StepContext } from './context.js';
import { checkFlow, checkOutput, checkStep } from './definition.js';
import type {
  Cascades, CheckMapDeps, CheckNewSlug, CheckResult, CheckRootMap, CheckTarget, ConditionInput, DepSlug, Executor,
  Handler, MapInput, MapItem, NotGiven, Optional, OutputOf, Pattern, Resort, RunOutput, SingleInput, SlugOf, TaskOutput, Type, TypedStep,
} from './inference.js';
import type { AsJson, FlowError, Json, JsonObject } from './json.js';

export type { Executor, Handler, MapInput, Resort, SingleInput, Type, TypedStep } from './inference.js';

/** The options of a flow, those of `define_flow`. Durations are whole seconds. */
export interface FlowOptions {
  /** For humans; no part of a version. */
  readonly description?: string;
  /** How often a task is tried in all; 3 unless said otherwise. */
  readonly maxAttempts?: number;
  /** Seconds before the second attempt, doubled with each further one; 5 unless said otherwise. */
  readonly baseDelay?: number;
  /** The most seconds between two attempts; 3600 unless said otherwise. */
  readonly maxDelay?: number;
  /** Seconds that a lease lasts if the worker does not say; 60 unless said otherwise. */
  readonly timeout?: number;
  /** Seconds that a whole run may take; for ever unless said otherwise. */
  readonly runTimeout?: number;
  /** Who does the steps that name no executor of their own; `worker` unless said otherwise. */
  readonly executor?: Executor;
  /** The target of the steps that name none of their own and have the flow's executor, or `worker`. */
  readonly target?: string;
  /** The step whose output is the run's; all leaves together unless said otherwise. */
  readonly outputStepSlug?: string;
}

/** The options of a step that its type does not depend on, those of `add_step`. Durations are whole seconds. */
export interface StepOptions {
  /** How often a task is tried in all; the flow's unless said otherwise. */
  readonly maxAttempts?: number;
  /** Seconds before the second attempt, doubled with each further one; the flow's unless said otherwise. */
  readonly baseDelay?: number;
  /** Seconds that a lease lasts if the worker does not say; the flow's unless said otherwise. */
  readonly timeout?: number;
  /** Seconds between the moment the deps are resolved and the moment the tasks are ready; 0 unless said otherwise. */
  readonly startDelay?: number;
  /** Where workers find its tasks; the flow's slug unless said otherwise. */
  readonly queue?: string;
  /** `manual` waits for `start_step`; `auto` unless said otherwise. */
  readonly startMode?: 'auto' | 'manual';
}

/** A step as a flow holds it, with the defaults of the flow for executor and target filled in. */
export interface StepDefinition {
  readonly slug: string;
  readonly type: 'single' | 'map';
  readonly executor: Executor;
  /** What the executor calls: a function, a URL, a flow slug, an event name, or where a timer finds its time. */
  readonly target?: string;
  readonly dependsOn: readonly string[];
  /** Absent: the flow's slug. */
  readonly queue?: string;
  /** What the step itself says besides. */
  readonly options: StepDefinitionOptions;
  readonly handler?: (input: any, context: StepContext) => unknown;
}

/** The options of a step that it has itself, as they were given. */
export interface StepDefinitionOptions extends Omit<StepOptions, 'queue'> {
  readonly mapOver?: string;
  readonly requiredInputPattern?: JsonObject;
  readonly forbiddenInputPattern?: JsonObject;
  readonly whenUnmet?: Resort;
  readonly whenExhausted?: Resort;
}

/** Any flow, whatever its types: what flows have in common, without the methods that add steps. */
export interface AnyFlow {
  readonly slug: string;
  readonly options: FlowOptions;
  readonly steps: readonly StepDefinition[];
  /** For the compiler alone. */
  readonly '~types'?: { input: any; steps: any; used: any; output: any };
}

type TypesOf<F extends AnyFlow> = NonNullable<F['~types']>;

/** What a run of the flow takes as its payload. */
export type FlowInput<F extends AnyFlow> = TypesOf<F>['input'];

/** What a run of the flow returns: the output of its output step, else `{ <leaf>: output, … }`. */
export type FlowOutput<F extends AnyFlow> = RunOutput<TypesOf<F>['steps'], TypesOf<F>['used'], TypesOf<F>['output']>;

/** The slugs of a flow's steps. */
export type StepSlug<F extends AnyFlow> = SlugOf<TypesOf<F>['steps']>;

/** What a step of the flow returns; of a map, an array of what its tasks return. */
export type StepOutput<F extends AnyFlow, Slug extends StepSlug<F>> = OutputOf<TypesOf<F>['steps'], Slug>;

/**
 * The type of an output that nobody infers: `.sql({ slug: 'total', target: 'public.total', output: type<number>() })`.
 * Believed, not checked.
 */
export function type<T>(): Type<T> {
  return {};
}

/** What all kinds of steps say. */
interface AnyStep<Slug extends string, Steps, Deps, Required, Forbidden, Unmet, Exhausted, Fault = unknown> extends StepOptions {
  /** The name of the step within its flow. */
  readonly slug: Slug & CheckNewSlug<Slug, Steps>;
  /** The steps it waits for, and whose outputs it gets. */
  readonly dependsOn?: (Deps | readonly DepSlug<Steps>[]) & readonly DepSlug<Steps>[] & Fault;
  /** What the condition input must contain: the payload, or the outputs of the deps by slug. */
  readonly requiredInputPattern?: Required;
  /** What the condition input must not contain. */
  readonly forbiddenInputPattern?: Forbidden;
  /** What becomes of the step when a pattern says no; `skip` unless said otherwise. */
  readonly whenUnmet?: Unmet;
  /** What becomes of the step when no attempt is left; `fail` unless said otherwise. */
  readonly whenExhausted?: Exhausted;
}

interface WithOutput<Output> {
  /** The type of a task's output, where no handler says it: `type<T>()`. */
  readonly output?: Type<Output>;
}

/** What a step of a given executor says besides. */
interface WithExecutor<Who, Target> {
  /** Who does it; the flow's unless said otherwise. */
  readonly executor?: Who;
  /** What the executor calls. `null` says that there is none, whatever the flow says. */
  readonly target?: Target;
}

/** The flow with one more step. By way of a member, so that editors show the flow and not this name. */
type Extended<Input, Steps extends TypedStep, Used extends string, Output extends string,
  Slug extends string, Deps extends readonly unknown[], StepOutput, Required, Forbidden, Unmet, Exhausted> = {
  flow: Flow<
    Input,
    Steps | TypedStep<
      Slug,
      StepOutput,
      Optional<Steps, Deps, Required, Forbidden, Unmet, Exhausted>,
      Cascades<Steps, Deps, Required, Forbidden, Unmet, Exhausted>
    >,
    Used | (Deps[number] & string),
    Output
  >;
}['flow'];

type CheckInput<Input> = [Input] extends [AsJson<Input>] ? unknown : FlowError<'the input of a flow is JSON'>;

/**
 * A flow: its options, and its steps in the order in which they were added.
 *
 * `Input` is the payload of its runs. The other type parameters are inferred: the steps, those that are deps of others,
 * and the output step.
 */
export class Flow<Input = Json, Steps extends TypedStep = never, Used extends string = never, Output extends string = never> {
  readonly slug: string;
  readonly options: FlowOptions;
  readonly steps: readonly StepDefinition[];
  /** For the compiler alone. */
  declare readonly '~types'?: { input: Input; steps: Steps; used: Used; output: Output };

  /**
   * A flow without steps.
   *
   * Give the type of its runs' payload as `new Flow<Input>({ slug })` or as `new Flow({ slug, input: type<Input>() })`.
   *
   * @throws FlowDefinitionError when an option is wrong
   */
  constructor(
    options: Omit<FlowOptions, 'outputStepSlug'> & {
      /** The name of the flow: ASCII letters, digits and underscores, not beginning with a digit. */
      readonly slug: string;
      /** The type of the payload. */
      readonly input?: Type<Input>;
      /** The step whose output is the run's; with `new Flow<Input>(…)` call `.output(slug)` when it is there. */
      readonly outputStepSlug?: Output | FlowError<'with new Flow<Input>(…) call .output(slug) behind the steps'>;
    } & CheckInput<Input>,
  ) {
    const { slug, options: checked } = checkFlow(options);
    this.slug = slug;
    this.options = checked;
    this.steps = Object.freeze([]);
    Object.defineProperty(this, brand, { value: true });
    Object.freeze(this);
  }

  /**
   * A step with one task, which gets `{ run, …outputs of deps }`.
   *
   * Without a handler the task is done elsewhere: by a worker in another language, or by what `executor` names. `output`
   * says the type of its output then; otherwise it is any JSON.
   *
   * @throws FlowDefinitionError when an option is wrong
   */
  step<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    Who extends Executor | NotGiven,
    const Deps extends readonly string[] = [],
    Result = NotGiven,
    const Target extends string | AnyFlow | null = null,
    Declared = NotGiven,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & WithOutput<Declared> &
      WithExecutor<Who, Target & CheckTarget<Target, SingleInput<Input, Steps, Deps[number]>>>,
    handler?: Handler<SingleInput<Input, Steps, Deps[number]>, Result & CheckResult<Result, NoInfer<Declared>, Who>>,
  ): Extended<Input, Steps, Used, Output, Slug, Deps, TaskOutput<Result, Declared, Who, Target>,
    Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', options, handler);
  }

  /**
   * A step with a task for each element of an array: of the flow's input when it has no deps, else of the output of its
   * dep. A task gets `{ item, index }`; the output of the step is the array of what its tasks return. `output` says the
   * type of what one task returns.
   *
   * @throws FlowDefinitionError when an option is wrong
   */
  map<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    Who extends Executor | NotGiven,
    const Deps extends readonly string[] = [],
    Result = NotGiven,
    const Target extends string | AnyFlow | null = null,
    Declared = NotGiven,
    const Over extends string | NotGiven = NotGiven,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted, CheckMapDeps<Input, Steps, Deps, Over>> & WithOutput<Declared> &
      WithExecutor<Who, Target & CheckTarget<Target, MapInput<MapItem<Input, Steps, Deps, Over>>>> & {
        readonly slug: CheckRootMap<Input, Deps>;
        /** Which of several deps it goes over; the others are only waited for. */
        readonly mapOver?: Over;
      },
    handler?: Handler<MapInput<MapItem<Input, Steps, Deps, Over>>, Result & CheckResult<Result, NoInfer<Declared>, Who>>,
  ): Extended<Input, Steps, Used, Output, Slug, Deps, TaskOutput<Result, Declared, Who, Target>[],
    Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'map', options, handler);
  }

  /** A step that a function of the database does: `target` is `schema.name`, from `jsonb` to `jsonb`. */
  sql<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    const Deps extends readonly string[] = [],
    Declared = Json,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & WithOutput<Declared> & { readonly target: string },
  ): Extended<Input, Steps, Used, Output, Slug, Deps, Declared, Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', { ...options, executor: 'sql' });
  }

  /** A step that an HTTP endpoint does, which may be this flow's handler, served elsewhere. `target` is its URL. */
  http<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    const Deps extends readonly string[] = [],
    Result = NotGiven,
    Declared = NotGiven,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & WithOutput<Declared> & {
      /** A URL; that of the flow, if its executor is `http`, unless said otherwise. */
      readonly target?: string;
    },
    handler?: Handler<SingleInput<Input, Steps, Deps[number]>, Result & CheckResult<Result, NoInfer<Declared>, 'http'>>,
  ): Extended<Input, Steps, Used, Output, Slug, Deps, TaskOutput<Result, Declared, 'http', null>,
    Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', { ...options, executor: 'http' }, handler);
  }

  /**
   * A step that waits for somebody outside: for `complete_step`, or, when `target` names one, for an event. It waits for
   * ever unless it has a `timeout`.
   */
  external<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    const Deps extends readonly string[] = [],
    Declared = Json,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & WithOutput<Declared> & {
      /** The name of the event. */
      readonly target?: string;
    },
  ): Extended<Input, Steps, Used, Output, Slug, Deps, Declared, Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', { ...options, executor: 'external' });
  }

  /**
   * A step that ends by itself, after `startDelay` seconds or at the time that `target` points to in its input, such as
   * `/run/remind_at`. Its output is the time at which it was over.
   */
  timer<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    const Deps extends readonly string[] = [],
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & {
      /** A JSON pointer into the input: to a date with a time, or to a number of seconds. */
      readonly target?: string;
    },
  ): Extended<Input, Steps, Used, Output, Slug, Deps, string, Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', { ...options, executor: 'timer' });
  }

  /**
   * A step that a run of another flow does. `target` is that flow, whose input must be what this step gives it, or its
   * slug. For a child for each element say `.map({ executor: 'flow', target, … })`.
   */
  childFlow<
    const Slug extends string,
    const Unmet extends Resort | NotGiven,
    const Exhausted extends Resort | NotGiven,
    const Target extends string | AnyFlow,
    const Deps extends readonly string[] = [],
    Declared = NotGiven,
    const Required extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
    const Forbidden extends Pattern<ConditionInput<Input, Steps, Deps>> | NotGiven = NotGiven,
  >(
    options: AnyStep<Slug, Steps, Deps, Required, Forbidden, Unmet, Exhausted> & WithOutput<Declared> & {
      readonly target: Target & CheckTarget<Target, SingleInput<Input, Steps, Deps[number]>>;
    },
  ): Extended<Input, Steps, Used, Output, Slug, Deps, TaskOutput<NotGiven, Declared, 'flow', Target>,
    Required, Forbidden, Unmet, Exhausted> {
    return withStep(this, 'single', { ...options, executor: 'flow' });
  }

  /**
   * Names the step whose output is the output of the run. Without it that is `{ <leaf>: output, … }`.
   *
   * @throws FlowDefinitionError when the flow has no such step
   */
  output<const Slug extends DepSlug<Steps>>(slug: Slug): Flow<Input, Steps, Used, Slug & string> {
    checkOutput(this, slug);
    return copy(this, { options: Object.freeze({ ...this.options, outputStepSlug: slug as string }) });
  }
}

/** The one place where types are left behind: what was said is checked and becomes data. */
function withStep(flow: AnyFlow, type: 'single' | 'map', options: object, handler?: unknown): any {
  return copy(flow, { steps: Object.freeze([...flow.steps, checkStep(flow, type, options, handler)]) });
}

/** A flow with other options or steps, which have been checked. */
function copy(flow: AnyFlow, changes: { options?: FlowOptions; steps?: readonly StepDefinition[] }): any {
  const { slug, options, steps } = flow;
  const made = Object.create(Flow.prototype, { [brand]: { value: true } });
  return Object.freeze(Object.assign(made, { slug, options, steps }, changes));
}
