/**
 * Watching a run until it ends: a table that is drawn again in a terminal, a line for each change elsewhere.
 *
 * It polls, which works through every pooler and needs no right but that to see the run. While nothing moves it asks
 * less often, and it outlives restarts of the server.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Exit } from './command.js';
import type { Call, ExitStatus } from './command.js';
import { Database, databaseUrl, isLost } from './database.js';
import { colour, oneLine, table } from './screen.js';
import { hasEnded, outputOf, runLine, stateOf, stepRow, wholeRun } from './state.js';
import type { RunState } from './state.js';

/** Milliseconds between two looks at the least and at the most. */
const SOONEST = 150;
const LATEST = 1_000;
/** Milliseconds without a change after which it is said what the run waits for. */
const PATIENCE = 3_000;

/**
 * Shows the run on standard error until it has ended; then its output on standard output, or with --json all of it.
 * The status is that of a failed command unless the run has completed.
 */
export async function watch(call: Call, runId: string): Promise<ExitStatus> {
  const view = process.stderr.isTTY ? new LiveTable() : new Lines();
  const interrupted = (signal: NodeJS.Signals) => {
    view.end();
    process.stderr.write(`the run goes on: pgflow show ${runId} --watch\n`);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  const connection = new LastingConnection(databaseUrl(call), (message) => view.say(message));
  try {
    const ended = await follow(connection, runId, view);
    view.end();
    const { status } = ended.run;
    if (call.json) process.stdout.write(`${await connection.ask((database) => wholeRun(database, runId))}\n`);
    else if (status === 'completed') process.stdout.write(`${await connection.ask((database) => outputOf(database, runId))}\n`);
    return status === 'completed' ? Exit.ok : Exit.no;
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    await connection.close();
  }
}

async function follow(connection: LastingConnection, runId: string, view: View): Promise<RunState> {
  let before = '';
  let changedAt = Date.now();
  for (;;) {
    const askedAt = Date.now();
    const state = await connection.ask((database) => stateOf(database, runId));
    const now = JSON.stringify([state.run, state.steps]);
    if (now !== before) changedAt = Date.now();
    before = now;
    const quiet = Date.now() - changedAt;
    view.show(state, quiet < PATIENCE || hasEnded(state.run.status) ? undefined : await connection.ask((database) => waitsFor(database, state)));
    if (hasEnded(state.run.status)) return state;
    // A look that costs much is taken seldom, and so is one that shows nothing new.
    const cost = 5 * (Date.now() - askedAt);
    await sleep(Math.max(Math.min(Math.max(SOONEST, quiet / 10), LATEST), cost));
  }
}

/** Why nothing moves, in the cases that somebody who has just begun meets. */
async function waitsFor(database: Database, { run, steps }: RunState): Promise<string | undefined> {
  if (run.status === 'pending') return `it starts at ${run.start_at}`;
  const busy = await database.rows<{ step_slug: string; under_way: boolean; due: boolean }>(
    `SELECT step_slug, bool_or(status = 'started') AS under_way, bool_or(status = 'queued' AND queued_at <= clock_timestamp()) AS due
     FROM pgflow.step_tasks WHERE run_id = $1 AND status IN ('queued', 'started') GROUP BY step_slug`,
    [run.run_id],
  );
  if (busy.some(({ under_way }) => under_way)) return undefined;
  const waiting = steps.find((step) => busy.some(({ step_slug, due }) => step_slug === step.step_slug && due));
  if (waiting === undefined) return undefined;
  return waiting.executor === 'worker'
    ? `no worker has taken ${waiting.step_slug} yet, from queue "${waiting.queue}": pgflow worker FILE`
    : `nobody has done ${waiting.step_slug} yet: steps of executor ${waiting.executor} need the background worker`;
}

/** A connection that is made anew when it is lost. The first one must succeed. */
class LastingConnection {
  readonly #url: string | undefined;
  readonly #say: (message: string) => void;
  #database: Database | undefined;
  #wasOpen = false;

  constructor(url: string | undefined, say: (message: string) => void) {
    this.#url = url;
    this.#say = say;
  }

  /** Asks something that only reads, as often as it takes to get an answer. */
  async ask<T>(question: (database: Database) => Promise<T>): Promise<T> {
    for (let pause = 100; ; pause = Math.min(pause * 2, 5_000)) {
      try {
        this.#database ??= await Database.open(this.#url);
        this.#wasOpen = true;
        return await question(this.#database);
      } catch (error) {
        if (!isLost(error) || !this.#wasOpen) throw error;
        await this.close();
        this.#say('the connection to the database is lost; connecting again');
        await sleep(pause);
      }
    }
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await database?.close();
  }
}

interface View {
  show(state: RunState, hint: string | undefined): void;
  say(message: string): void;
  end(): void;
}

/** A table that is drawn over itself. */
class LiveTable implements View {
  #drawn = 0;

  show(state: RunState, hint: string | undefined): void {
    const stream = process.stderr;
    const width = stream.columns || 80;
    const room = Math.max(3, (stream.rows || 24) - 4);
    const steps = chosen(state, room);
    const lines = [
      ...table(stream, [runLine(state)], width),
      ...table(stream, steps.map((step) => stepRow(step, state.now)), width),
    ];
    const hidden = state.steps.length - steps.length;
    if (hidden > 0) lines.push(`  … and ${hidden} more steps`);
    if (hint !== undefined) lines.push(colour(stream, 'yellow', `  ${hint}`.slice(0, width)));
    this.#draw(lines);
  }

  say(message: string): void {
    this.#draw([message]);
  }

  end(): void {
    this.#drawn = 0;
    process.stderr.write('\u001b[?25h');
  }

  #draw(lines: readonly string[]): void {
    // Hide the cursor, go up over what was drawn, clear it.
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : '';
    process.stderr.write(`\u001b[?25l${up}\r\u001b[J${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }
}

/** As many steps as there is room for: what is under way and what went wrong comes before what is over or waits. */
function chosen({ steps }: RunState, room: number): RunState['steps'] {
  if (steps.length <= room) return steps;
  const rank = (status: string) => ['failed', 'started', 'pending', 'completed'].indexOf(status) >>> 0;
  const first = [...steps].sort((a, b) => rank(a.status) - rank(b.status)).slice(0, room - 1);
  return steps.filter((step) => first.includes(step));
}

/** A line for each change of a status, for logs. */
class Lines implements View {
  readonly #seen = new Map<string, string>();
  #hint: string | undefined;

  show(state: RunState, hint: string | undefined): void {
    const first = this.#seen.size === 0;
    if (first) this.#tell(state, 'run', `run ${state.run.run_id} of ${state.run.flow_slug}`, state.run.status);
    for (const step of state.steps) {
      // At first everything waits, which is no news.
      if (first && step.status === 'pending') this.#seen.set(`step ${step.step_slug}`, 'pending');
      const why = step.error_message ?? step.skip_reason?.replaceAll('_', ' ');
      this.#tell(state, `step ${step.step_slug}`, `step ${step.step_slug}`, step.status, why);
    }
    this.#tell(state, 'run', 'run', state.run.status, state.run.error_message ?? undefined);
    if (hint !== undefined && hint !== this.#hint) this.say(hint);
    this.#hint = hint;
  }

  #tell(state: RunState, key: string, what: string, status: string, why?: string): void {
    if (this.#seen.get(key) === status) return;
    this.#seen.set(key, status);
    process.stderr.write(`${state.now.slice(11, 19)} ${what} ${status}${why === undefined ? '' : `: ${oneLine(why, 1_000)}`}\n`);
  }

  say(message: string): void {
    process.stderr.write(`${message}\n`);
  }

  end(): void {}
}
