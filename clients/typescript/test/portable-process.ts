/**
 * The worker, the fetch handler and the client in one program, for whatever runs JavaScript:
 * `… portable-process.js '<options as JSON>'` prints what the runs came to.
 */
import { createServer } from 'node:http';
import { createClient } from '../src/client.js';
import { Flow, type } from '../src/index.js';
import { nodeListener, serveSteps } from '../src/serve.js';
import type { FetchHandler } from '../src/serve.js';
import { createWorker } from '../src/worker.js';

export interface PortableOptions {
  /** The database. */
  url: string;
  /** PostgREST or pgflow-live, and tokens of a user and of a worker. */
  door: string;
  userToken: string;
  workerToken: string;
  /** Where the fetch handler is to listen. */
  port: number;
  secret: string;
}

/** One step by a worker and one by an endpoint; a map over HTTP. */
export function portableFlows(port: number) {
  return {
    mixed: new Flow({ slug: 'mixed', input: type<{ name: string }>() })
      .step({ slug: 'greet' }, async ({ run }, { signal }) => (signal.aborted ? '' : `hello ${run.name}`))
      .http({ slug: 'shout', dependsOn: ['greet'], target: `http://127.0.0.1:${port}/` }, ({ greet }) => greet.toUpperCase()),
    remote: new Flow({ slug: 'remote', input: type<number[]>() }).map({ slug: 'double' }, ({ item }) => item * 2),
  };
}

interface Runtimes {
  Deno?: { serve(options: { port: number; hostname: string; onListen(): void }, handler: FetchHandler): { shutdown(): Promise<void> } };
  Bun?: { serve(options: { port: number; hostname: string; fetch: FetchHandler }): { stop(force: boolean): void } };
}

/** Serves in the way of the runtime, and returns what ends that. */
async function serve(port: number, handler: FetchHandler): Promise<[string, () => void]> {
  const { Deno, Bun } = globalThis as unknown as Runtimes;
  const hostname = '127.0.0.1';
  if (Deno !== undefined) {
    const server = Deno.serve({ port, hostname, onListen() {} }, handler);
    return ['deno', () => void server.shutdown()];
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ port, hostname, fetch: handler });
    return ['bun', () => server.stop(true)];
  }
  const server = createServer(nodeListener(handler));
  await new Promise<void>((resolve) => server.listen(port, hostname, resolve));
  return ['node', () => {
    server.closeAllConnections();
    server.close();
  }];
}

async function main(options: PortableOptions): Promise<void> {
  const { mixed, remote } = portableFlows(options.port);
  const [runtime, close] = await serve(options.port, serveSteps([mixed], { secret: options.secret }));
  const workers = [
    createWorker({ connection: options.url, flows: [mixed] }),
    createWorker({ connection: { url: options.door, token: options.workerToken }, flows: [remote], pollInterval: 50 }),
  ];
  await Promise.all(workers.map((worker) => worker.start()));
  const pgflow = createClient<{ mixed: typeof mixed; remote: typeof remote }>({ url: options.door, token: options.userToken });
  const handle = await pgflow.startFlow('mixed', { name: 'ann' });
  const told: string[] = [];
  handle.on('step', ({ slug, status }) => told.push(`${slug} ${status}`));
  const outputs = [await handle.result, await pgflow.triggerFlow('remote', [1, 2, 3])];
  await Promise.all(workers.map((worker) => worker.stop()));
  close();
  console.log(JSON.stringify({ runtime, outputs, told }));
}

const given = process.argv[2];
if (given !== undefined && process.argv[1]?.endsWith('portable-process.js')) await main(JSON.parse(given) as PortableOptions);
