/** Proves by compiling that the client knows what flows take and return. Not run. */
import { createClient } from '../src/client.js';
import type { RunHandle, StepInfo } from '../src/client.js';
import { Flow, type } from '../src/index.js';
import { useRun } from '../src/react.js';

const digest = new Flow({ slug: 'digest', input: type<{ topic: string }>() })
  .step({ slug: 'fetch' }, ({ run }) => [run.topic])
  .map({ slug: 'each', dependsOn: ['fetch'] }, ({ item }) => item.length);

export async function types(): Promise<void> {
  const pgflow = createClient<{ digest: typeof digest }>({ url: 'http://localhost:3000' });
  const output: { each: number[] } = await pgflow.triggerFlow('digest', { topic: 'x' });
  // @ts-expect-error it is an array of numbers
  const wrong: { each: string[] } = await pgflow.triggerFlow('digest', { topic: 'x' });
  // @ts-expect-error the payload has a topic
  await pgflow.triggerFlow('digest', {});
  // @ts-expect-error no such flow
  await pgflow.triggerFlow('digset', { topic: 'x' });

  const handle: RunHandle<typeof digest> = await pgflow.startFlow('digest', { topic: 'x' });
  const each: StepInfo<number[]> | undefined = handle.step('each');
  const first: number | undefined = handle.run?.output?.each[0];
  // @ts-expect-error no such step
  handle.step('publish');
  // @ts-expect-error no such event
  handle.on('steps', () => {});
  handle.on('step', (step) => step.status === 'skipped');

  // By the flow itself, and without knowing any.
  const direct: { each: number[] } = await createClient({ url: '' }).triggerFlow(digest, { topic: 'x' });
  await createClient({ url: '' }).triggerFlow('anything', { goes: true });

  const { run, status, steps } = useRun<typeof digest>(pgflow, 'id');
  const shown: number[] | undefined = run?.output?.each;
  void [output, wrong, each, first, direct, status, steps, shown];
}
