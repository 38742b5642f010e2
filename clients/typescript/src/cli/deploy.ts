/** `pgflow deploy`: flows into the database. */
import { toDefinition } from '../compile.js';
import { DATABASE, Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { withDatabase } from './database.js';
import { loadFlows } from './load.js';

export const deploy: Command = {
  name: 'deploy',
  operands: 'FILE…',
  summary: 'define the flows in the database',
  description: [
    'All flows that the files export, in one transaction: all or none. A flow that is there as it is stays as it is. Runs',
    'under way end on the version they started with.',
  ].join('\n'),
  options: DATABASE,
  takes: { least: 1, most: Infinity },
  run: runDeploy,
};

async function runDeploy(call: Call): Promise<ExitStatus> {
  const flows = await loadFlows(call.operands);
  // In one order, so that two of us do not wait for each other.
  const documents = flows.map(({ flow }) => toDefinition(flow)).sort((a, b) => (a.flow_slug < b.flow_slug ? -1 : 1));
  const defined = await withDatabase(call, (database) =>
    database.transaction(async () => {
      const rows = [];
      for (const document of documents) {
        rows.push(
          await database.row<{ flow_slug: string; version: number; changed: boolean }>(
            'SELECT flow_slug, version, changed FROM pgflow.define_flow($1::text::jsonb)',
            [JSON.stringify(document)],
          ),
        );
      }
      return rows;
    }),
  );
  if (call.json) process.stdout.write(`${JSON.stringify(defined, null, 2)}\n`);
  else {
    for (const { flow_slug, version, changed } of defined) {
      process.stdout.write(`${flow_slug}: version ${version}${changed ? '' : ', unchanged'}\n`);
    }
  }
  return Exit.ok;
}
