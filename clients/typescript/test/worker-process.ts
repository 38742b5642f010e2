/**
 * A worker as a process of its own, for tests that kill it: `node worker-process.js '<options as JSON>'`. Each task leaves
 * its idempotency key in a table, as an effect in the outside world would.
 */
import pg from 'pg';
import { Flow, type } from '../src/index.js';
import { createWorker } from '../src/worker.js';
import type { StepContext } from '../src/worker.js';

/** What a test says. */
export interface ProcessOptions {
  url: string;
  concurrency: number;
  leaseSeconds?: number;
  /** How long a task takes, in milliseconds. */
  taskMs?: number;
}

/** Lists, does something for each, and adds up: `size` and two tasks. */
export function effects(act: (context: StepContext) => Promise<void>) {
  return new Flow({ slug: 'effects', input: type<{ size: number }>(), maxAttempts: 50, baseDelay: 0, timeout: 30 })
    .step({ slug: 'list' }, async ({ run }, context) => {
      await act(context);
      return Array.from({ length: run.size }, (_, n) => n);
    })
    .map({ slug: 'each', dependsOn: ['list'] }, async ({ item }, context) => {
      await act(context);
      return item * 2;
    })
    .step({ slug: 'total', dependsOn: ['each'] }, async ({ each }, context) => {
      await act(context);
      return each.reduce((sum, one) => sum + one, 0);
    });
}

/** What the tests need in the database. */
export const TABLES = `
  create table effects (key text not null, attempt int not null);
  create index on effects (key)`;

async function main(options: ProcessOptions): Promise<void> {
  const pool = new pg.Pool({ connectionString: options.url, max: 4 });
  pool.on('error', () => {});
  const act = async ({ idempotencyKey, attempt, signal }: StepContext): Promise<void> => {
    if (options.taskMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.taskMs));
    for (;;) {
      try {
        await pool.query('insert into effects values ($1, $2)', [idempotencyKey, attempt]);
        return;
      } catch (error) {
        // The outside world is down too.
        if (signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };
  const worker = createWorker({
    connection: options.url,
    flows: [effects(act)],
    concurrency: options.concurrency,
    leaseSeconds: options.leaseSeconds,
    pollInterval: 100,
    stopOnSignals: true,
    logger: false,
  });
  await worker.start();
  console.log('started');
  await worker.done;
  console.log('stopped');
  await pool.end();
}

const [, script, given] = process.argv;
if (given !== undefined && script?.endsWith('worker-process.js')) await main(JSON.parse(given) as ProcessOptions);
