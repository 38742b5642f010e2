/** `pgflow run`: starts a run, and watches it if asked to. */
import { readFileSync } from 'node:fs';
import { DATABASE, Exit, UsageError } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { watch } from './watch.js';

export const run: Command = {
  name: 'run',
  operands: "FLOW ['JSON']",
  summary: 'start a run of a flow',
  description: [
    'The payload is JSON, {} if there is none, or - to read it from standard input. Prints the id of the run.',
    'With --watch the steps are shown on standard error while they move, and the output of the run is printed in the end;',
    'the status is 0 if the run completed, 1 if it failed or was cancelled.',
  ].join('\n'),
  options: {
    watch: { type: 'boolean', short: 'w', help: 'show the steps until the run ends, then print its output' },
    key: { type: 'string', value: 'KEY', help: 'a name of your own for the run: a tenant, an order' },
    'idempotency-key': { type: 'string', value: 'KEY', help: 'with the same key again, the run is the first one' },
    priority: { type: 'string', value: 'N', help: 'higher ones first; 0 unless said otherwise; write --priority=-1' },
    'start-at': { type: 'string', value: 'TIME', help: 'not before that time, such as 2027-01-01T08:00:00Z' },
    ...DATABASE,
  },
  takes: { least: 1, most: 2 },
  run: startRun,
};

async function startRun(call: Call): Promise<ExitStatus> {
  const [flowSlug, given] = call.operands;
  const payload = payloadOf(given);
  const startAt = call.text('start-at');
  if (startAt !== undefined && Number.isNaN(Date.parse(startAt))) throw new UsageError(`--start-at ${startAt} is not a time`);
  const priority = call.whole('priority', Number.MIN_SAFE_INTEGER) ?? 0;
  const { run_id } = await withDatabase(call, (database) =>
    database.row<{ run_id: string }>(
      `SELECT pgflow.run_flow($1, payload => $2::text::jsonb, idempotency_key => $3, priority => $4, start_at => $5, key => $6) AS run_id`,
      [flowSlug, payload, call.text('idempotency-key') ?? null, priority, startAt ?? null, call.text('key') ?? null],
    ),
  );
  if (call.flag('watch')) return watch(call, run_id);
  process.stdout.write(call.json ? `${JSON.stringify({ run_id })}\n` : `${run_id}\n`);
  return Exit.ok;
}

/** The payload as text: the database reads the numbers, so that none is rounded. */
function payloadOf(given: string | undefined): string {
  if (given === undefined) return '{}';
  const text = given === '-' ? readFileSync(0, 'utf8') : given;
  try {
    JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`the payload is not JSON: ${why}\nQuote it for the shell: '{"name": "ann"}'`);
  }
  return text;
}
