/** `pgflow cancel`: ends a run. */
import { DATABASE, Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { checkRunId } from './state.js';

export const cancel: Command = {
  name: 'cancel',
  operands: 'RUN',
  summary: 'end a run',
  description: 'A run that has completed or failed stays as it is, and the status is 1.',
  options: {
    reason: { type: 'string', short: 'r', value: 'TEXT', help: 'why; kept with the run' },
    ...DATABASE,
  },
  takes: { least: 1, most: 1 },
  run: cancelRun,
};

async function cancelRun(call: Call): Promise<ExitStatus> {
  const runId = checkRunId(call.operands[0] as string);
  const { status } = await withDatabase(call, (database) =>
    database.row<{ status: string }>('SELECT (pgflow.cancel_run($1, $2)).status', [runId, call.text('reason') ?? null]),
  );
  process.stdout.write(call.json ? `${JSON.stringify({ run_id: runId, status })}\n` : `${runId}: ${status}\n`);
  return status === 'cancelled' ? Exit.ok : Exit.no;
}
