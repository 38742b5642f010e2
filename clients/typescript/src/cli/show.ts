/** `pgflow show`: a run with its steps, and what went wrong. */
import { DATABASE, Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { oneLine, table } from './screen.js';
import { hasEnded, runLine, stateOf, stepRow, wholeRun } from './state.js';
import { watch } from './watch.js';

export const show: Command = {
  name: 'show',
  operands: 'RUN',
  summary: 'show a run, its steps and its errors',
  description: 'With --json the whole of pgflow.get_run(). With --watch the status is 0 if the run completed, else 1.',
  options: {
    watch: { type: 'boolean', short: 'w', help: 'go on showing it until it ends, then print its output' },
    ...DATABASE,
  },
  takes: { least: 1, most: 1 },
  run: showRun,
};

async function showRun(call: Call): Promise<ExitStatus> {
  const runId = call.operands[0] as string;
  if (call.flag('watch')) return watch(call, runId);
  return withDatabase(call, async (database) => {
    if (call.json) {
      process.stdout.write(`${await wholeRun(database, runId)}\n`);
      return Exit.ok;
    }
    const state = await stateOf(database, runId);
    const { columns } = process.stdout;
    const lines = [
      ...table(process.stdout, [runLine(state)], columns),
      ...table(process.stdout, state.steps.map((step) => stepRow(step, state.now)), columns),
    ];
    const failures = await database.rows<{ step_slug: string; task_index: number; attempt: number; status: string; error_message: string | null }>(
      `SELECT step_slug, task_index, attempt, status, error_message FROM pgflow.step_tasks
       WHERE run_id = $1 AND status IN ('failed', 'expired') ORDER BY finished_at DESC LIMIT 10`,
      [runId],
    );
    if (failures.length > 0) {
      lines.push('', 'Attempts that failed, the latest first:');
      for (const { step_slug, task_index, attempt, status, error_message } of failures) {
        lines.push(`  ${step_slug}[${task_index}] attempt ${attempt} ${status}: ${oneLine(error_message ?? '', 1_000)}`);
      }
    }
    const values = await database.row<{ payload: string; output: string | null }>(
      `SELECT left(got #>> '{run,payload}', 2000) AS payload, left(got #>> '{run,output}', 2000) AS output FROM pgflow.get_run($1) AS got`,
      [runId],
    );
    lines.push('', `payload  ${oneLine(values.payload, 1_000)}`);
    if (hasEnded(state.run.status)) lines.push(`output   ${oneLine(values.output ?? 'none', 1_000)}`);
    process.stdout.write(`${lines.join('\n')}\n`);
    return Exit.ok;
  });
}
