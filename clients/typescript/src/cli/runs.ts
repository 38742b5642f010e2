/** `pgflow runs`: the latest runs. */
import { DATABASE, Exit, UsageError } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { colourOf, duration, oneLine, table } from './screen.js';
import type { Cell } from './screen.js';

const STATUSES = ['pending', 'started', 'completed', 'failed', 'cancelled'];

export const runs: Command = {
  name: 'runs',
  operands: '',
  summary: 'list the latest runs',
  options: {
    flow: { type: 'string', short: 'f', value: 'FLOW', help: 'of this flow only' },
    status: { type: 'string', short: 's', value: 'STATUS', help: `${STATUSES.join(', ')}` },
    key: { type: 'string', value: 'KEY', help: 'with this key only' },
    limit: { type: 'string', short: 'n', value: 'N', help: 'how many; 20 unless said otherwise' },
    before: { type: 'string', value: 'RUN', help: 'those that were made before this run, to go on' },
    ...DATABASE,
  },
  takes: { least: 0, most: 0 },
  run: listRuns,
};

interface Row {
  run_id: string;
  flow_slug: string;
  flow_version: number;
  status: string;
  key: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  error_message: string | null;
  now: string;
}

async function listRuns(call: Call): Promise<ExitStatus> {
  const status = call.text('status');
  if (status !== undefined && !STATUSES.includes(status)) throw new UsageError(`there is no status ${status}; there are ${STATUSES.join(', ')}`);
  // Times as text, in the form of JSON; ids are in the order of time.
  const rows = await withDatabase(call, (database) =>
    database.rows<Row>(
      `SELECT run_id, flow_slug, flow_version, status, key, error_message, to_json(created_at) #>> '{}' AS created_at,
              to_json(started_at) #>> '{}' AS started_at, to_json(finished_at) #>> '{}' AS finished_at,
              to_json(clock_timestamp()) #>> '{}' AS now
       FROM pgflow.runs
       WHERE ($1::text IS NULL OR flow_slug = $1) AND ($2::text IS NULL OR status = $2)
         AND ($3::text IS NULL OR key = $3) AND ($4::uuid IS NULL OR run_id < $4)
       ORDER BY run_id DESC LIMIT $5`,
      [call.text('flow') ?? null, status ?? null, call.text('key') ?? null, call.text('before') ?? null, call.whole('limit', 1) ?? 20],
    ),
  );
  if (call.json) {
    process.stdout.write(`${JSON.stringify(rows.map(({ now: _, ...row }) => row), null, 2)}\n`);
    return Exit.ok;
  }
  if (rows.length === 0) {
    process.stderr.write('no runs\n');
    return Exit.ok;
  }
  const heading = ['RUN', 'FLOW', 'STATUS', 'CREATED', 'TOOK', 'KEY', ''].map((text): Cell => ({ text, colour: 'dim' }));
  const lines = table(process.stdout, [heading, ...rows.map(cells)], process.stdout.columns);
  process.stdout.write(`${lines.join('\n')}\n`);
  return Exit.ok;
}

function cells(row: Row): Cell[] {
  const since = (from: string, to: string) => duration(Date.parse(to) - Date.parse(from));
  return [
    { text: row.run_id },
    { text: `${row.flow_slug} v${row.flow_version}` },
    { text: row.status, colour: colourOf(row.status) },
    { text: `${since(row.created_at, row.now)} ago` },
    { text: row.started_at === null ? '' : since(row.started_at, row.finished_at ?? row.now) },
    { text: oneLine(row.key ?? '', 30) },
    { text: oneLine(row.error_message ?? '', 200), colour: 'red' },
  ];
}
