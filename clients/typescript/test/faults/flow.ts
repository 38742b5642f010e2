import { Flow, type } from '../../src/index.js';

const flow = new Flow<{ n: number; tags: string[] }>({ slug: 'orders' })
  .step({ slug: 'load' }, ({ run }) => run.n)
  .step({ slug: 'list' }, ({ run }) => run.tags);

flow.step({ slug: 'c', dependsOn: ['laod'] }, () => 1); // error: Type '"laod"' is not assignable to type '"list" | "load"'
new Flow({ slug: 'f' }).step({ slug: 'c', dependsOn: ['a'] }, () => 1); // error: the flow has no steps yet to depend on
flow.step({ slug: 'load' }, () => 1); // error: the flow has a step \"load\" already
flow.step({ slug: 'item' }, () => 1); // error: \"item\" is reserved: it is a key of every input
flow.step({ slug: 'a-b' }, () => 1); // error: \"a-b\" is not a slug: ASCII letters, digits and underscores
flow.step({ slug: 'c' }, () => new Date()); // error: a Date is not JSON, it would arrive as a string: use date.toISOString()
flow.step({ slug: 'c' }, () => ({ at: { last: new Date() } })); // error: a Date is not JSON, it would arrive as a string: use date.toISOString()
flow.step({ slug: 'c' }, async () => ({ at: { last: new Date() } })); // error: a Date is not JSON, it would arrive as a string: use date.toISOString()
flow.step({ slug: 'c' }, async () => new Map([['a', 1]])); // error: a Map is not JSON, it would arrive as {}: use Object.fromEntries(map)
flow.step({ slug: 'c' }, () => ({ set: new Set([1]) })); // error: a Set is not JSON, it would arrive as {}: use [...set]
flow.step({ slug: 'c' }, () => 1n); // error: a bigint is not JSON: convert it to a string or a number
flow.step({ slug: 'c' }, () => [1, undefined]); // error: undefined is not JSON: use null
flow.step({ slug: 'c' }, () => ({ f: () => 1 })); // error: a function is not JSON
flow.step({ slug: 'c' }, () => [Promise.resolve(1)]); // error: a Promise is not JSON: await it
flow.step({ slug: 'c' }, (): unknown => 1); // error: unknown is not known to be JSON: say what it is
flow.map({ slug: 'c', dependsOn: ['load'] }, () => 1); // error: a map goes over an array, and the output of \"load\" is not known to be one
flow.map({ slug: 'c' }, () => 1); // error: a map goes over an array, and the input of the flow is not known to be one
flow.map({ slug: 'c', dependsOn: ['load', 'list'] }, () => 1); // error: a map with several deps says with mapOver which of them it goes over
flow.map({ slug: 'c', dependsOn: ['list'], mapOver: 'load' }, () => 1); // error: mapOver is none of the deps of the step
flow.step({ slug: 'c', maxAttemps: 3 }, () => 1); // error: 'maxAttemps' does not exist in type
flow.step({ slug: 'c', executor: 'external' }, () => 1); // error: a step of executor \"external\" has no handler
flow.childFlow({ slug: 'c', target: new Flow<{ item: string }>({ slug: 'child' }) }); // error: the input of the child flow is not what this step gives it
flow.output('lsit'); // error: Argument of type '"lsit"' is not assignable to parameter of type '"list" | "load"'
new Flow<{ n: number }>({ slug: 'f', outputStepSlug: 'a' }); // error: with new Flow<Input>(…) call .output(slug) behind the steps
new Flow<{ at: Date }>({ slug: 'f' }); // error: the input of a flow is JSON
