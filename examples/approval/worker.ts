/** The process that does the steps that no human does. */
import { createWorker } from '@pgflow-native/client/worker';
import { expense } from './flow.js';

const worker = createWorker({ connection: {}, flows: [expense], stopOnSignals: true });
await worker.start();
console.log(`worker ${worker.workerId} serves ${worker.queues.join(', ')}`);
await worker.done;
process.exit();
