/**
 * What the compiler knows of flows. This file is compiled and never run: it is right if it compiles. That each fault has
 * a message worth reading is proved by faults.test.ts.
 */
import { Flow, type } from '../../src/index.js';
import type { AnyFlow, FlowInput, FlowOutput, Json, MapInput, Resort, StepContext, StepOutput, StepSlug } from '../../src/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Is<T extends true> = T;
/** The same type, also when one of them is spelt as an intersection. */
type Flat<T> = T extends object ? { [K in keyof T]: T[K] } : T;
type Same<A, B> = Equal<Flat<A>, Flat<B>>;

interface Document {
  id: number;
  title?: string;
}

// Inputs are inferred, and outputs accumulate.

const digest = new Flow<{ url: string; limit: number }>({ slug: 'digest' })
  .step({ slug: 'fetch' }, async (input, context) => {
    type _input = Is<Equal<typeof input, { run: { url: string; limit: number } }>>;
    type _context = Is<Equal<typeof context, StepContext>>;
    const documents: Document[] = [];
    return documents;
  })
  .map({ slug: 'summarise', dependsOn: ['fetch'] }, async (input) => {
    type _input = Is<Equal<typeof input, MapInput<Document>>>;
    return { id: input.item.id, words: input.index };
  })
  .step({ slug: 'count', dependsOn: ['fetch'] }, ({ fetch }) => fetch.length)
  .step({ slug: 'publish', dependsOn: ['summarise', 'count'] }, (input) => {
    type _input = Is<Equal<typeof input, { run: { url: string; limit: number }; summarise: { id: number; words: number }[]; count: number }>>;
    return { published: true, at: null as string | null };
  })
  .step({ slug: 'log', dependsOn: ['publish'] }, () => {});

type _digest_input = Is<Equal<FlowInput<typeof digest>, { url: string; limit: number }>>;
type _digest_slugs = Is<Equal<StepSlug<typeof digest>, 'fetch' | 'summarise' | 'count' | 'publish' | 'log'>>;
type _digest_fetch = Is<Equal<StepOutput<typeof digest, 'fetch'>, Document[]>>;
type _digest_summarise = Is<Equal<StepOutput<typeof digest, 'summarise'>, { id: number; words: number }[]>>;
type _digest_publish = Is<Equal<StepOutput<typeof digest, 'publish'>, { published: boolean; at: string | null }>>;
// Nothing arrives as null.
type _digest_log = Is<Equal<StepOutput<typeof digest, 'log'>, null>>;
type _digest_output = Is<Same<FlowOutput<typeof digest>, { log: null }>>;

// The output of a run: the leaves, or the step that is named.

const leaves = new Flow<{ n: number }>({ slug: 'leaves' })
  .step({ slug: 'a' }, ({ run }) => run.n)
  .step({ slug: 'b', dependsOn: ['a'] }, ({ a }) => `${a}`)
  .step({ slug: 'c', dependsOn: ['a'], whenExhausted: 'skip' }, ({ a }) => a > 1);
type _leaves = Is<Same<FlowOutput<typeof leaves>, { b: string; c?: boolean }>>;

const named = leaves.output('a');
type _named = Is<Equal<FlowOutput<typeof named>, number>>;
const namedOptional = leaves.output('c');
type _namedOptional = Is<Equal<FlowOutput<typeof namedOptional>, boolean | null>>;

const namedAtFirst = new Flow({ slug: 'named', input: type<{ n: number }>(), outputStepSlug: 'b' })
  .step({ slug: 'a' }, ({ run }) => run.n)
  .step({ slug: 'b', dependsOn: ['a'] }, ({ a }) => [a]);
type _namedAtFirst = Is<Equal<FlowOutput<typeof namedAtFirst>, number[]>>;
type _namedAtFirstInput = Is<Equal<FlowInput<typeof namedAtFirst>, { n: number }>>;

const empty = new Flow({ slug: 'empty' });
type _empty = Is<Equal<FlowOutput<typeof empty>, null>>;
type _emptyInput = Is<Equal<FlowInput<typeof empty>, Json>>;

const onlyOptional = new Flow({ slug: 'optional' }).step({ slug: 'a', whenExhausted: 'skip' }, () => 1);
type _onlyOptional = Is<Equal<FlowOutput<typeof onlyOptional>, { a?: number } | null>>;

// Skippable deps are optional.

const skips = new Flow<{ gift: boolean }>({ slug: 'skips' })
  .step({ slug: 'always' }, () => 1)
  .step({ slug: 'unmet', requiredInputPattern: { gift: true } }, () => 'wrapped')
  .step({ slug: 'unmetFails', requiredInputPattern: { gift: true }, whenUnmet: 'fail' }, () => 2)
  .step({ slug: 'forbidden', forbiddenInputPattern: { gift: true }, whenUnmet: 'skip-cascade' }, () => 3)
  .step({ slug: 'exhausted', whenExhausted: 'skip' }, () => 4)
  .step({ slug: 'cascades', whenExhausted: 'skip-cascade' }, () => 5)
  // Without a pattern nothing is unmet.
  .step({ slug: 'noPattern', whenUnmet: 'skip' }, () => 6)
  // What is downstream of a cascade may be skipped with it.
  .step({ slug: 'below', dependsOn: ['cascades'] }, () => 7)
  // A plain skip ends with the step itself.
  .step({ slug: 'beside', dependsOn: ['exhausted'] }, ({ exhausted }) => exhausted ?? 0)
  .step({ slug: 'all', dependsOn: ['always', 'unmet', 'unmetFails', 'forbidden', 'exhausted', 'cascades', 'noPattern', 'below', 'beside'] }, (input) => {
    type _all = Is<Equal<typeof input, {
      run: { gift: boolean };
      always: number;
      unmetFails: number;
      noPattern: number;
      beside: number;
      unmet?: string;
      forbidden?: number;
      exhausted?: number;
      cascades?: number;
      below?: number;
    }>>;
    // @ts-expect-error it may have been skipped
    return input.unmet.length;
  });

// What is only known at run time may be any of the three.
declare const resort: Resort;
const unknownResort = new Flow({ slug: 'unknown_resort' })
  .step({ slug: 'a', whenExhausted: resort }, () => 1)
  .step({ slug: 'b', dependsOn: ['a'] }, () => 2);
type _unknownResort = Is<Equal<FlowOutput<typeof unknownResort>, { b?: number } | null>>;

// A map over a dep that was skipped goes over nothing.
const mapOverSkipped = new Flow({ slug: 'map_over_skipped' })
  .step({ slug: 'list', whenExhausted: 'skip' }, () => ['a'])
  .map({ slug: 'each', dependsOn: ['list'] }, ({ item }) => item.length);
type _mapOverSkipped = Is<Same<FlowOutput<typeof mapOverSkipped>, { each: number[] }>>;

// Maps.

const rootMap = new Flow<{ url: string }[]>({ slug: 'root_map' }).map({ slug: 'each' }, ({ item, index }) => `${index} ${item.url}`);
type _rootMap = Is<Same<FlowOutput<typeof rootMap>, { each: string[] }>>;

const several = new Flow<{ a: 1 }>({ slug: 'several' })
  .step({ slug: 'list' }, () => [1, 2, 3])
  .step({ slug: 'ready' }, () => true)
  .map({ slug: 'each', dependsOn: ['ready', 'list'], mapOver: 'list' }, ({ item }) => item * 2)
  .map({ slug: 'again', dependsOn: ['each'] }, ({ item }) => [item]);
type _several = Is<Equal<StepOutput<typeof several, 'each'>, number[]>>;
type _again = Is<Equal<StepOutput<typeof several, 'again'>, number[][]>>;

const anything = new Flow<any>({ slug: 'anything' })
  .map({ slug: 'each' }, ({ item }) => item.whatever as string)
  .step({ slug: 'any', dependsOn: ['each'] }, ({ each }): any => each)
  .map({ slug: 'of_any', dependsOn: ['any'] }, ({ item }) => item);
type _each = Is<Equal<StepOutput<typeof anything, 'each'>, string[]>>;

const readonlyList = new Flow<readonly [1, 'a']>({ slug: 'readonly_list' }).map({ slug: 'each' }, (input) => {
  type _item = Is<Equal<typeof input.item, 1 | 'a'>>;
});

// Steps that are done elsewhere: the type of the output is said, or it is any JSON.

const child = new Flow<{ run: { n: number } }>({ slug: 'child' }).step({ slug: 'double' }, ({ run }) => run.run.n * 2).output('double');
const childOfMap = new Flow<{ item: string; index: number }>({ slug: 'child_of_map' }).step({ slug: 'a' }, ({ run }) => run.item.length);

const elsewhere = new Flow<{ n: number }>({ slug: 'elsewhere' })
  .step({ slug: 'python' })
  .step({ slug: 'typed', output: type<string[]>() })
  .sql({ slug: 'total', target: 'public.total', output: type<number>() })
  .http({ slug: 'render', target: 'https://example.com/render' }, ({ run }) => ({ pages: run.n }))
  .http({ slug: 'call', target: 'https://example.com/call', output: type<{ ok: boolean }>() })
  .external({ slug: 'approve', target: 'approved', output: type<{ by: string }>(), timeout: 60, whenExhausted: 'skip' })
  .timer({ slug: 'wait', startDelay: 5 })
  .childFlow({ slug: 'child', target: child })
  .childFlow({ slug: 'by_slug', target: 'child', output: type<boolean>() })
  .map({ slug: 'children', dependsOn: ['typed'], executor: 'flow', target: childOfMap })
  .map({ slug: 'sums', dependsOn: ['typed'], executor: 'sql', target: 'public.sum', output: type<number>() })
  .step({ slug: 'remind', executor: 'timer', target: '/run/n' });
type Elsewhere<Slug extends StepSlug<typeof elsewhere>> = StepOutput<typeof elsewhere, Slug>;
type _elsewhere = [
  Is<Equal<Elsewhere<'python'>, Json>>,
  Is<Equal<Elsewhere<'typed'>, string[]>>,
  Is<Equal<Elsewhere<'total'>, number>>,
  Is<Equal<Elsewhere<'render'>, { pages: number }>>,
  Is<Equal<Elsewhere<'call'>, { ok: boolean }>>,
  Is<Equal<Elsewhere<'approve'>, { by: string }>>,
  Is<Equal<Elsewhere<'wait'>, string>>,
  Is<Equal<Elsewhere<'child'>, number>>,
  Is<Equal<Elsewhere<'by_slug'>, boolean>>,
  Is<Same<Elsewhere<'children'>, { a: number }[]>>,
  Is<Equal<Elsewhere<'sums'>, number[]>>,
  Is<Equal<Elsewhere<'remind'>, string>>,
];

// Defaults of the flow for its steps.
const served = new Flow<{ a: string }>({ slug: 'served', executor: 'http', target: 'https://example.com/functions/served' })
  .step({ slug: 'one' }, ({ run }) => run.a)
  .http({ slug: 'two', dependsOn: ['one'] }, ({ one }) => one.length);
type _served = Is<Same<FlowOutput<typeof served>, { two: number }>>;

// What JSON can say, in the ways TypeScript says it.

interface Tree {
  value: string;
  children: Tree[];
  parent?: Tree | undefined;
}
const Colour = { red: 'red', green: 'green' } as const;
type Colour = (typeof Colour)[keyof typeof Colour];
declare const colour: Colour;
declare const tree: Tree;
declare const json: Json;
declare const record: Record<string, Document | null>;
declare const tuple: readonly [1, 'a', { b: null }];
declare const maybe: Promise<string> | number | undefined;
const outputs = new Flow({ slug: 'outputs' })
  .step({ slug: 'tree' }, () => tree)
  .step({ slug: 'json' }, async () => json)
  .step({ slug: 'record' }, () => record)
  .step({ slug: 'tuple' }, () => tuple)
  .step({ slug: 'enumeration' }, () => colour)
  .step({ slug: 'maybe' }, () => maybe)
  .step({ slug: 'any' }, () => JSON.parse('1'))
  .step({ slug: 'never' }, () => {
    throw new Error('always');
  })
  .step({ slug: 'declared', output: type<{ a?: number }>() }, () => ({ a: 1 }))
  .step({ slug: 'union' }, ({ run }) => (run === 1 ? { ok: true as const, value: 1 } : { ok: false as const, why: 'x' }));
type Outputs<Slug extends StepSlug<typeof outputs>> = StepOutput<typeof outputs, Slug>;
type _outputs = [
  Is<Equal<Outputs<'tree'>, Tree>>,
  Is<Equal<Outputs<'json'>, Json>>,
  Is<Equal<Outputs<'record'>, Record<string, Document | null>>>,
  Is<Equal<Outputs<'tuple'>, readonly [1, 'a', { b: null }]>>,
  Is<Equal<Outputs<'enumeration'>, Colour>>,
  Is<Equal<Outputs<'maybe'>, string | number | null>>,
  Is<Equal<Outputs<'any'>, any>>,
  Is<Equal<Outputs<'declared'>, { a?: number }>>,
];

// Every flow is one, and a list of them is a list.
const flows: readonly AnyFlow[] = [digest, leaves, named, skips, rootMap, several, anything, elsewhere, served, outputs, empty];

type _unknownOutput = Is<Equal<FlowOutput<AnyFlow>, any>>;
type _unknownInput = Is<Equal<FlowInput<AnyFlow>, any>>;
type _unknownSlugs = Is<Equal<StepSlug<AnyFlow>, string>>;

// A flow whose steps are only known at run time.
declare const slugs: string[];
let dynamic: Flow<any, any, any, any> = new Flow({ slug: 'dynamic' });
for (const slug of slugs) dynamic = dynamic.step({ slug, dependsOn: dynamic.steps.map((step) => step.slug) }, () => slug);

// Faults. Each of the following lines does not compile.

const two = new Flow<{ n: number }>({ slug: 'two' }).step({ slug: 'a' }, ({ run }) => run.n).step({ slug: 'b' }, () => ['x']);

// @ts-expect-error a dep that is no step
two.step({ slug: 'c', dependsOn: ['z'] }, () => 1);
// @ts-expect-error a dep of a flow without steps
new Flow({ slug: 'f' }).step({ slug: 'c', dependsOn: ['z'] }, () => 1);
// @ts-expect-error a slug that there is
two.step({ slug: 'a' }, () => 1);
// @ts-expect-error a reserved slug
two.step({ slug: 'run' }, () => 1);
// @ts-expect-error no slug
two.step({ slug: 'a-b' }, () => 1);
// @ts-expect-error no slug
two.step({ slug: '1a' }, () => 1);
// @ts-expect-error no slug at all
two.step({ dependsOn: ['a'] }, () => 1);
// @ts-expect-error a Date is not JSON
two.step({ slug: 'c' }, () => new Date());
// @ts-expect-error a Date is not JSON, also within
two.step({ slug: 'c' }, () => ({ at: { last: new Date() } }));
// @ts-expect-error a bigint is not JSON
two.step({ slug: 'c' }, () => 1n);
// @ts-expect-error a Map is not JSON
two.step({ slug: 'c' }, async () => new Map([['a', 1]]));
// @ts-expect-error undefined in an array is not JSON
two.step({ slug: 'c' }, () => [1, undefined]);
// @ts-expect-error a function is not JSON
two.step({ slug: 'c' }, () => ({ f: () => 1 }));
// @ts-expect-error unknown is not known to be JSON
two.step({ slug: 'c' }, (): unknown => 1);
// @ts-expect-error bytes are not JSON
two.map({ slug: 'c', dependsOn: ['b'] }, () => new Uint8Array(1));
// @ts-expect-error a map over a number
two.map({ slug: 'c', dependsOn: ['a'] }, () => 1);
// @ts-expect-error a root map of a flow whose input is no array
two.map({ slug: 'c' }, () => 1);
// @ts-expect-error a map with several deps that does not say which
two.map({ slug: 'c', dependsOn: ['a', 'b'] }, () => 1);
// @ts-expect-error a map over what is no dep
two.map({ slug: 'c', dependsOn: ['b'], mapOver: 'a' }, () => 1);
// @ts-expect-error mapOver on a single step
two.step({ slug: 'c', dependsOn: ['b'], mapOver: 'b' }, () => 1);
// @ts-expect-error an output of a step that is no dep
two.step({ slug: 'c', dependsOn: ['a'] }, ({ b }) => b);
// @ts-expect-error an option that there is not
two.step({ slug: 'c', maxAttemps: 3 }, () => 1);
// @ts-expect-error a value that there is not
two.step({ slug: 'c', whenExhausted: 'explode' }, () => 1);
// @ts-expect-error a pattern that can never be contained
two.step({ slug: 'c', requiredInputPattern: { n: 'one' } }, () => 1);
// @ts-expect-error a pattern about the output of a dep that has no such member
two.step({ slug: 'c', dependsOn: ['a'], requiredInputPattern: { run: { n: 1 } } }, () => 1);
// @ts-expect-error a handler of a step that somebody else does
two.step({ slug: 'c', executor: 'external' }, () => 1);
// @ts-expect-error another type than was declared
two.step({ slug: 'c', output: type<string>() }, () => 1);
// @ts-expect-error an SQL step without a function
two.sql({ slug: 'c' });
// @ts-expect-error a child flow that takes something else
two.childFlow({ slug: 'c', target: childOfMap });
// @ts-expect-error an output step that is no step
two.output('z');
// @ts-expect-error the output step of a flow whose input is named
new Flow<{ n: number }>({ slug: 'f', outputStepSlug: 'a' });
// @ts-expect-error an input that is not JSON
new Flow<{ at: Date }>({ slug: 'f' });
// @ts-expect-error no slug
new Flow({});
