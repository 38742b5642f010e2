/** The process that does the steps. Any number of them may run, on any machine that reaches the database. */
import { createWorker } from '@pgflow-native/client/worker';
import { digest, page } from './flow.js';

const worker = createWorker({
  // PGHOST, PGDATABASE and so on say where the database is; a URL is fine, too.
  connection: {},
  flows: [digest, page],
  concurrency: 8,
  stopOnSignals: true,
  // A failed attempt is kept with its error. This is to see it happen.
  hooks: {
    onSettle(task, result) {
      if (result.status !== 'failed') return;
      const [message] = (result.message ?? '').split('\n');
      console.log(`  ${task.flowSlug}.${task.stepSlug}, attempt ${task.attempt}: ${message}`);
    },
  },
});
await worker.start();
console.log(`worker ${worker.workerId} serves ${worker.queues.join(', ')}`);
