/** The process that does the steps. Any number of them may run, on any machine that reaches the database. */
import { createWorker } from '@pgflow-native/client/worker';
import { digest, page } from './flow.js';

const worker = createWorker({
  // PGHOST, PGDATABASE and so on say where the database is; a URL is fine, too.
  connection: {},
  flows: [digest, page],
  concurrency: 8,
  stopOnSignals: true,
  // Each failed attempt is kept with its error and its stack. Here, a line says that it happened.
  logger: false,
  hooks: {
    onError(error, task) {
      const where = task === undefined ? '' : `${task.flowSlug}.${task.stepSlug}, attempt ${task.attempt}: `;
      console.log(`  ${where}${error instanceof Error ? error.message : error}`);
    },
  },
});
await worker.start();
console.log(`worker ${worker.workerId} serves ${worker.queues.join(', ')}`);
