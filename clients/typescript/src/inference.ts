/**
 * What the compiler knows of a flow: the types behind `Flow.step` and `Flow.map`.
 *
 * Nothing here exists at run time; `definition.ts` has the same rules for
 * programs that are not type-checked.
 */
import type { StepContext } from './context.js';
import type { AnyFlow, FlowInput, FlowOutput } from './flow.js';
import type { AsJson, FlowError, Json, JsonResult } from './json.js';

/** What becomes of a step whose condition is unmet, or whose last attempt failed. */
export type Resort = 'fail' | 'skip' | 'skip-cascade';

/** Who does the tasks of a step. */
export type Executor = 'worker' | 'sql' | 'http' | 'flow' | 'external' | 'timer';

/**
 * What the type of a flow remembers of a step. The steps of a flow are a union of these: the compiler goes through a union
 * much faster than through an object type with hundreds of members, each of which came by an intersection.
 */
export interface TypedStep<
  Slug extends string = string,
  Output = unknown,
  Optional extends boolean = boolean,
  Cascades extends boolean = boolean,
> {
  slug: Slug;
  output: Output;
  /** Whether it may be skipped, so that its output is missing. */
  optional: Optional;
  /** Whether all steps downstream of it are skipped with it. */
  cascades: Cascades;
}

/** The step of that slug. */
export type StepOf<Steps, Slug> = Extract<Steps, { slug: Slug }>;

/** The slugs of the steps. */
export type SlugOf<Steps> = IsAny<Steps> extends true ? string : Steps extends TypedStep ? Steps['slug'] : never;

/** The output of the step of that slug. */
export type OutputOf<Steps, Slug> = StepOf<Steps, Slug> extends { output: infer Output } ? Output : never;

/** Says a type where none can be inferred: `output: type<string[]>()`. Exists for the compiler alone. */
export interface Type<T> {
  readonly '~type'?: (value: T) => T;
}

/** The default of type parameters for which nothing was given. */
declare const nothing: unique symbol;
export type NotGiven = typeof nothing;

/** Makes editors show the members of a type and not how it came to be. */
export type Simplify<T> = { [K in keyof T]: T[K] } & {};

type IsAny<T> = 0 extends 1 & T ? true : false;
type IsNotGiven<T> = IsAny<T> extends true ? false : [T] extends [NotGiven] ? true : false;

// Slugs.

type Letter =
  | 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm'
  | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z';
type SlugHead = Letter | Uppercase<Letter> | '_';
type SlugTail = SlugHead | '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9';
type IsSlugTail<S extends string> = S extends ''
  ? true
  : S extends `${infer First}${infer Rest}`
    ? First extends SlugTail ? IsSlugTail<Rest> : false
    : false;
type IsSlug<S extends string> = S extends `${infer First}${infer Rest}`
  ? First extends SlugHead ? IsSlugTail<Rest> : false
  : false;

/** `unknown` for a slug that may be a name, else the reason why not. A slug that is only known at run time is checked there. */
export type CheckSlug<Slug extends string> = string extends Slug
  ? unknown
  : Slug extends 'run' | 'item'
    ? FlowError<`"${Slug}" is reserved: it is a key of every input`>
    : IsSlug<Slug> extends true
      ? unknown
      : FlowError<`"${Slug}" is not a slug: ASCII letters, digits and underscores, not beginning with a digit`>;

/** The same for a slug that must be new to the flow. */
export type CheckNewSlug<Slug extends string, Steps> = string extends Slug
  ? unknown
  : IsAny<Steps> extends true
    ? CheckSlug<Slug>
    : [StepOf<Steps, Slug>] extends [never]
      ? CheckSlug<Slug>
      : FlowError<`the flow has a step "${Slug}" already`>;

/** The slugs that a new step may depend on. */
export type DepSlug<Steps> = [Steps] extends [never] ? FlowError<'the flow has no steps yet to depend on'> : SlugOf<Steps>;

// Inputs.

/** The outputs of deps: those that may be skipped may be missing. */
export type DepOutputs<Steps, Deps> = {
  [D in CertainDep<Steps, Deps>]: OutputOf<Steps, D>;
} & {
  [D in OptionalDep<Steps, Deps>]?: OutputOf<Steps, D>;
};

type CertainDep<Steps, Dep> = Dep extends string ? (StepOf<Steps, Dep> extends { optional: true } ? never : Dep) : never;
type OptionalDep<Steps, Dep> = Dep extends string ? (StepOf<Steps, Dep> extends { optional: true } ? Dep : never) : never;

/** The input of the task of a single step. */
export type SingleInput<Input, Steps, Deps> = Simplify<{ run: Input } & DepOutputs<Steps, Deps>>;

/** The input of a task of a map. */
export interface MapInput<Item> {
  /** The element of the array. */
  item: Item;
  /** Its place, from 0. */
  index: number;
}

/** What conditions are checked against: the run's payload for a step without deps, else the outputs of its deps. */
export type ConditionInput<Input, Steps, Deps extends readonly unknown[]> = Deps extends readonly []
  ? Input
  : DepOutputs<Steps, Deps[number]>;

/** What may be contained in a JSON value: objects by the keys that are named, arrays as sets, scalars as equal. */
export type Pattern<T> = IsAny<T> extends true
  ? any
  : T extends readonly (infer Item)[]
    ? readonly Pattern<Item>[]
    : T extends object
      ? { readonly [K in keyof T]?: Pattern<T[K]> }
      : T;

// Maps.

/** What a map goes over, or why that is not known. */
type MapSource<Input, Steps, Deps extends readonly unknown[], Over> = [Over] extends [NotGiven]
  ? Deps extends readonly []
    ? Input
    : Deps extends readonly [infer Only]
      ? OutputOf<Steps, Only>
      : number extends Deps['length']
        ? any
        : FlowError<'a map with several deps says with mapOver which of them it goes over'>
  : Over extends Deps[number]
    ? OutputOf<Steps, Over>
    : FlowError<'mapOver is none of the deps of the step'>;

/** The element of what a map goes over. */
export type MapItem<Input, Steps, Deps extends readonly unknown[], Over> = ItemOf<MapSource<Input, Steps, Deps, Over>>;

type ItemOf<Source> = IsAny<Source> extends true ? any : Source extends readonly (infer Item)[] ? Item : never;

type MapFault<Source, What extends string> = IsAny<Source> extends true
  ? unknown
  : [Source] extends [FlowError<string>]
    ? Source
    : [Source] extends [readonly unknown[]]
      ? unknown
      : FlowError<`a map goes over an array, and ${What} is not known to be one`>;

/** A root map needs an array as the input of the flow. */
export type CheckRootMap<Input, Deps extends readonly unknown[]> = Deps extends readonly []
  ? MapFault<Input, 'the input of the flow'>
  : unknown;

/** A map with deps needs an array from the one that it goes over. */
export type CheckMapDeps<Input, Steps, Deps extends readonly unknown[], Over> = Deps extends readonly []
  ? unknown
  : MapFault<MapSource<Input, Steps, Deps, Over>, `the output of "${MapDep<Deps, Over>}"`>;

type MapDep<Deps extends readonly unknown[], Over> = [Over] extends [NotGiven]
  ? Deps extends readonly [infer Only extends string] ? Only : string
  : Over & string;

// Handlers and outputs.

/** Does a task. What it returns, or what its promise resolves to, is the output. */
export type Handler<Input, Result> = (input: Input, context: StepContext) => Result;

/** What a handler's result must be: JSON, and what `output` says if that is given. */
export type CheckResult<Result, Output, Who> = [Who] extends ['sql' | 'flow' | 'external' | 'timer']
  ? FlowError<`a step of executor "${Who & string}" has no handler`>
  : Result extends Promise<infer Value>
    ? Promise<CheckValue<Value, Output>>
    : CheckValue<Result, Output>;

type CheckValue<Value, Output> = IsAny<Value> extends true
  ? any
  : IsNotGiven<Output> extends true
    ? Value extends undefined | void ? Value : AsJson<Value>
    : Output;

/** The output of a task: as declared, as its handler returns it, or as its executor gives it. */
export type TaskOutput<Result, Output, Who, Target> = IsNotGiven<Output> extends true
  ? IsNotGiven<Result> extends true
    ? [Who] extends ['timer']
      ? string
      : Target extends AnyFlow ? FlowOutput<Target> : Json
    : JsonResult<Awaited<Result>>
  : Output;

/** A child flow must take as its input what the step gives it. */
export type CheckTarget<Target, TaskInput> = Target extends AnyFlow
  ? TaskInput extends FlowInput<Target>
    ? unknown
    : FlowError<'the input of the child flow is not what this step gives it: { run, …deps }, or { item, index } for a map'>
  : unknown;

// Skipping.

/**
 * What may become of the step. For a type parameter that nothing was given for the compiler takes its constraint, which has
 * `NotGiven` in it; a default would be all that editors offer.
 */
type Resorts<Required, Forbidden, Unmet, Exhausted> =
  | ([Required, Forbidden] extends [NotGiven, NotGiven] ? never : NotGiven extends Unmet ? 'skip' : Unmet)
  | (NotGiven extends Exhausted ? 'fail' : Exhausted);

/** Whether all downstream of the step may be skipped: by it, or with it. */
export type Cascades<Steps, Deps extends readonly unknown[], Required, Forbidden, Unmet, Exhausted> =
  'skip-cascade' extends Resorts<Required, Forbidden, Unmet, Exhausted>
    ? true
    : AnyCascades<Steps, Deps[number]>;

/** Whether one of the deps cascades. */
type AnyCascades<Steps, Dep> = true extends (Dep extends string ? (StepOf<Steps, Dep> extends { cascades: infer C } ? C : never) : never)
  ? true
  : false;

/** Whether the step may be skipped. */
export type Optional<Steps, Deps extends readonly unknown[], Required, Forbidden, Unmet, Exhausted> =
  [Extract<Resorts<Required, Forbidden, Unmet, Exhausted>, 'skip' | 'skip-cascade'>] extends [never]
    ? Cascades<Steps, Deps, Required, Forbidden, Unmet, Exhausted>
    : true;

/** The output of the step, or of the leaves, that is the output of the run. */
export type RunOutput<Steps, Used, Output> = IsAny<Steps> extends true
  ? any
  : [Output] extends [never]
    ? [Steps] extends [never] ? null : LeafOutputs<Steps, Exclude<SlugOf<Steps>, Used>>
    : OutputOf<Steps, Output> | (StepOf<Steps, Output> extends { optional: true } ? null : never);

/** When all leaves are skipped there is nothing: null. */
type LeafOutputs<Steps, Leaves> =
  | Simplify<DepOutputs<Steps, Leaves>>
  | ([CertainDep<Steps, Leaves>] extends [never] ? null : never);
