/** Where a run stands, as commands show it. */
import type { Database } from './database.js';
import { colourOf, duration, oneLine } from './screen.js';
import type { Cell } from './screen.js';
import { Refusal } from './command.js';

/** What is asked of a run again and again; without payload and outputs, which may be large. */
export interface RunState {
  run: {
    run_id: string;
    flow_slug: string;
    flow_version: number;
    status: string;
    key: string | null;
    error_message: string | null;
    created_at: string;
    start_at: string | null;
    started_at: string | null;
    finished_at: string | null;
  };
  steps: StepState[];
  /** The server's time. */
  now: string;
}

export interface StepState {
  step_slug: string;
  step_type: string;
  executor: string;
  queue: string;
  start_mode: string;
  status: string;
  remaining_deps: number;
  initial_tasks: number | null;
  completed_tasks: number;
  attempts: number;
  failed_attempts: number;
  deps_slugs: string[];
  error_message: string | null;
  skip_reason: string | null;
  started_at: string | null;
  finished_at: string | null;
}

const STATE = `
  SELECT jsonb_build_object(
    'run', (got -> 'run') - '{payload,output}'::text[],
    'steps', coalesce((SELECT jsonb_agg(step - 'output' ORDER BY place)
                       FROM jsonb_array_elements(got -> 'steps') WITH ORDINALITY AS step (step, place)), '[]'),
    'now', clock_timestamp()) AS state
  FROM pgflow.get_run($1) AS got`;

/** Where the run stands. */
export async function stateOf(database: Database, runId: string): Promise<RunState> {
  return (await database.row<{ state: RunState }>(STATE, [checkRunId(runId)])).state;
}

/** The whole of `get_run`, as text: numbers are kept as they are. */
export async function wholeRun(database: Database, runId: string): Promise<string> {
  const { run } = await database.row<{ run: string }>('SELECT jsonb_pretty(pgflow.get_run($1)) AS run', [checkRunId(runId)]);
  return run;
}

/** The output of a run, as text; JSON null if there is none. */
export async function outputOf(database: Database, runId: string): Promise<string> {
  const { output } = await database.row<{ output: string | null }>(
    "SELECT jsonb_pretty(pgflow.get_run($1) #> '{run,output}') AS output",
    [checkRunId(runId)],
  );
  return output ?? 'null';
}

/** What looks like the id of a run; whether there is one is for the database to say. */
export function checkRunId(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text;
  throw new Refusal(`${JSON.stringify(text)} is not the id of a run; pgflow runs lists them`, 2);
}

export function hasEnded(status: string): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled';
}

const MARKS: Record<string, string> = { completed: '✓', failed: '✗', started: '●', skipped: '–', cancelled: '–' };

/** A step as a row of a table. */
export function stepRow(step: StepState, now: string): Cell[] {
  const colour = colourOf(step.status);
  return [
    { text: `  ${MARKS[step.status] ?? '○'}`, colour },
    { text: step.step_slug },
    { text: step.status, colour },
    { text: tasks(step) },
    { text: took(step, now), colour: 'dim' },
    { text: note(step), colour: step.error_message === null ? 'dim' : 'red' },
  ];
}

function tasks(step: StepState): string {
  return step.step_type === 'map' && step.initial_tasks !== null ? `${step.completed_tasks}/${step.initial_tasks}` : '';
}

/** How long something has taken, or takes so far. */
export function took(what: { started_at: string | null; finished_at: string | null }, now: string): string {
  if (what.started_at === null) return '';
  return duration(Date.parse(what.finished_at ?? now) - Date.parse(what.started_at));
}

function note(step: StepState): string {
  const notes: string[] = [];
  if (step.failed_attempts > 0) notes.push(`${step.failed_attempts} failed ${step.failed_attempts === 1 ? 'attempt' : 'attempts'}`);
  if (step.skip_reason !== null) notes.push(step.skip_reason.replaceAll('_', ' '));
  if (step.status === 'started' && step.executor === 'external') notes.push('waits for somebody outside');
  if (step.status === 'pending' && step.start_mode === 'manual' && step.remaining_deps === 0) notes.push('waits for start_step');
  if (step.error_message !== null) notes.push(oneLine(step.error_message, 500));
  return notes.join(', ');
}

/** The run itself, on a line. */
export function runLine({ run, now }: RunState): Cell[] {
  return [
    { text: run.flow_slug, colour: 'bold' },
    { text: run.run_id },
    { text: run.status, colour: colourOf(run.status) },
    { text: took(run, now), colour: 'dim' },
    { text: run.error_message === null ? '' : oneLine(run.error_message, 500), colour: 'red' },
  ];
}
