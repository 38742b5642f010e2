/** `pgflow retry`: puts a failed or cancelled run back to work. */
import { DATABASE, Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { checkRunId } from './state.js';
import { watch } from './watch.js';

export const retry: Command = {
  name: 'retry',
  operands: 'RUN',
  summary: 'put a failed or cancelled run back to work',
  description: 'What has completed stays; the rest is ready at once, with a new budget of attempts.',
  options: {
    watch: { type: 'boolean', short: 'w', help: 'show the steps until the run ends, then print its output' },
    ...DATABASE,
  },
  takes: { least: 1, most: 1 },
  run: retryRun,
};

async function retryRun(call: Call): Promise<ExitStatus> {
  const runId = checkRunId(call.operands[0] as string);
  const { status } = await withDatabase(call, (database) =>
    database.row<{ status: string }>('SELECT (pgflow.retry_run($1)).status', [runId]),
  );
  if (call.flag('watch')) return watch(call, runId);
  process.stdout.write(call.json ? `${JSON.stringify({ run_id: runId, status })}\n` : `${runId}: ${status}\n`);
  return Exit.ok;
}
