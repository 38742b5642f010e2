/** `pgflow worker`: does the steps of flows until it is told to stop. */
import { DATABASE, Exit, Refusal } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { databaseUrl } from './database.js';
import { loadFlows } from './load.js';
import { duration, oneLine } from './screen.js';

export const worker: Command = {
  name: 'worker',
  operands: 'FILE…',
  summary: 'do the steps of the flows, until told to stop',
  description: [
    'Does the steps of executor worker that have a handler, of all flows that the files export. Deploy them first. SIGINT',
    'and SIGTERM let it finish what it holds, or hand it back; a second one ends it at once.',
    'With --json each event is a line of JSON on standard output.',
  ].join('\n'),
  options: {
    concurrency: { type: 'string', short: 'c', value: 'N', help: 'how many handlers run at once; 10 unless said otherwise' },
    'batch-size': { type: 'string', value: 'N', help: 'the most tasks that one claim takes' },
    'poll-interval': { type: 'string', value: 'MS', help: 'how often an idle worker looks for tasks; 1000 unless said otherwise' },
    'no-listen': { type: 'boolean', help: 'only poll: for poolers in transaction mode' },
    id: { type: 'string', value: 'NAME', help: 'the name of this worker in logs and in pgflow.workers' },
    verbose: { type: 'boolean', short: 'v', help: 'print a line for each task' },
    ...DATABASE,
  },
  takes: { least: 1, most: Infinity },
  run: runWorker,
};

async function runWorker(call: Call): Promise<ExitStatus> {
  const flows = (await loadFlows(call.operands)).map(({ flow }) => flow);
  if (!flows.some(({ steps }) => steps.some((step) => step.executor === 'worker' && step.handler !== undefined))) {
    throw new Refusal('none of these flows has a step of executor "worker" with a handler', Exit.usage);
  }
  const { createWorker } = await import('../worker.js');
  const made = createWorker({
    connection: databaseUrl(call) ?? {},
    flows,
    concurrency: call.whole('concurrency', 1),
    batchSize: call.whole('batch-size', 1),
    pollInterval: call.whole('poll-interval', 1),
    listen: call.flag('no-listen') ? false : undefined,
    workerId: call.text('id'),
    stopOnSignals: true,
    hooks: {
      onSettle: (task, result) => {
        if (call.json) process.stdout.write(`${JSON.stringify({ event: 'settled', ...told(task), ...result })}\n`);
        else if (call.flag('verbose')) {
          const why = result.message === undefined ? '' : `: ${oneLine(result.message, 300)}`;
          process.stderr.write(`${name(task)} ${result.status} in ${duration(result.durationMs)}${why}\n`);
        }
      },
    },
  });
  await made.start();
  if (call.json) process.stdout.write(`${JSON.stringify({ event: 'started', worker_id: made.workerId, queues: made.queues })}\n`);
  else process.stderr.write(`worker ${made.workerId} serves ${made.queues.join(', ')}; Ctrl-C stops it\n`);
  await made.done;
  if (call.json) process.stdout.write(`${JSON.stringify({ event: 'stopped', worker_id: made.workerId })}\n`);
  else process.stderr.write(`worker ${made.workerId} has stopped\n`);
  return Exit.ok;
}

interface Task {
  runId: string;
  flowSlug: string;
  stepSlug: string;
  taskIndex: number;
  attempt: number;
}

function told({ runId, flowSlug, stepSlug, taskIndex, attempt }: Task): Record<string, unknown> {
  return { run_id: runId, flow_slug: flowSlug, step_slug: stepSlug, task_index: taskIndex, attempt };
}

function name({ runId, flowSlug, stepSlug, taskIndex, attempt }: Task): string {
  return `${flowSlug} ${runId} ${stepSlug}[${taskIndex}]${attempt > 1 ? ` attempt ${attempt}` : ''}`;
}
