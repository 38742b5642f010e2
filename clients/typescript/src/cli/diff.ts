/** `pgflow diff`: what deploying would change. */
import { toDefinition } from '../compile.js';
import { changesShape, difference } from '../difference.js';
import type { Change, StoredFlow } from '../difference.js';
import { DATABASE, Exit } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import type { Database } from './database.js';
import { withDatabase } from './database.js';
import { loadFlows } from './load.js';

export const diff: Command = {
  name: 'diff',
  operands: 'FILE…',
  summary: 'show what deploying the flows would change',
  description: 'Changes nothing. Ends with status 0 if the database has all flows as the files say, else with 1.',
  options: DATABASE,
  takes: { least: 1, most: Infinity },
  run: runDiff,
};

interface Difference {
  flow_slug: string;
  changed: boolean;
  /** The latest version in the database; null if there is none. */
  version: number | null;
  /** The version that deploying would leave. */
  next_version: number;
  changes: Change[];
}

async function runDiff(call: Call): Promise<ExitStatus> {
  const documents = (await loadFlows(call.operands)).map(({ flow }) => toDefinition(flow));
  const differences = await withDatabase(call, async (database) => {
    const found: Difference[] = [];
    for (const document of documents) {
      const stored = await graph(database, document.flow_slug);
      const changes = difference(stored, document);
      const version = (stored?.['version'] as number | undefined) ?? null;
      const opens = stored !== undefined && stored['frozen_at'] !== null && changes.some(changesShape);
      found.push({
        flow_slug: document.flow_slug,
        changed: stored === undefined || changes.length > 0,
        version,
        next_version: (version ?? 1) + (opens ? 1 : 0),
        changes,
      });
    }
    return found;
  });
  process.stdout.write(call.json ? `${JSON.stringify(differences, null, 2)}\n` : differences.map(shown).join(''));
  return differences.some(({ changed }) => changed) ? Exit.no : Exit.ok;
}

/** The stored definition, if there is one that we may see. */
async function graph(database: Database, flowSlug: string): Promise<StoredFlow | undefined> {
  try {
    return (await database.row<{ graph: StoredFlow }>('SELECT pgflow.flow_graph($1) AS graph', [flowSlug])).graph;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'PT404') return undefined;
    throw error;
  }
}

function shown({ flow_slug, changed, version, next_version, changes }: Difference): string {
  const what = version === null
    ? 'is new'
    : !changed
      ? `is version ${version}, nothing to change`
      : next_version === version
        ? `version ${version} would be changed in place`
        : `version ${version} has runs, version ${next_version} would be opened`;
  return [`${flow_slug}: ${what}`, ...changes.map(line), ''].join('\n');
}

/** A change on a line: + for what is new, - for what goes, ~ for what is another. */
function line({ step_slug, field, from, to }: Change): string {
  const say = (value: unknown) => JSON.stringify(value);
  if (field !== undefined) return `  ~ ${step_slug === undefined ? '' : `${step_slug}.`}${field}: ${say(from)} -> ${say(to)}`;
  return from === null ? `  + ${say(to)}` : `  - ${say(from)}`;
}
