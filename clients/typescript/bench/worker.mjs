// One measurement: works the runs of flow "chain" that are in the database, with handlers that do nothing, in this process.
//
//   node worker.mjs URL CONCURRENCY TASKS
//
// Prints the calls that it made. How long it took is in the database: from the first claim to the last settlement.
import { Flow } from '../dist/index.js';
import { createWorker } from '../dist/worker.js';

const [url, concurrency, tasks] = process.argv.slice(2);
const chain = new Flow({ slug: 'chain' })
  .step({ slug: 'one' }, () => 1)
  .step({ slug: 'two', dependsOn: ['one'] }, () => 2)
  .step({ slug: 'three', dependsOn: ['two'] }, () => 3);

let settled = 0;
let calls = 0;
const worker = createWorker({
  connection: url,
  flows: [chain],
  concurrency: Number(concurrency),
  hooks: {
    onClaim(call) {
      calls++;
      settled += call.settled;
      if (settled >= Number(tasks)) void worker.stop();
    },
  },
});
await worker.start();
await worker.done;
console.log(calls);
