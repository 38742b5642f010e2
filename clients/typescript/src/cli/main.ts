#!/usr/bin/env node
/** `pgflow`: flows from the command line. */
import { readFileSync } from 'node:fs';
import { FlowDefinitionError } from '../definition.js';
import { cancel } from './cancel.js';
import { columns, Exit, help, read, Refusal, UsageError } from './command.js';
import type { Command, ExitStatus } from './command.js';
import { compile } from './compile.js';
import { explain } from './database.js';
import { deploy } from './deploy.js';
import { diff } from './diff.js';
import { init } from './init.js';
import { retry } from './retry.js';
import { run } from './run.js';
import { runs } from './runs.js';
import { show } from './show.js';
import { worker } from './worker.js';

const COMMANDS: readonly Command[] = [init, compile, diff, deploy, worker, run, runs, show, retry, cancel];

function overview(): string {
  return [
    'pgflow: durable workflows inside Postgres',
    '',
    'Usage: pgflow COMMAND …',
    '',
    'Commands:',
    ...columns(COMMANDS.map((command) => [command.name, command.summary] as const)),
    '',
    'pgflow COMMAND --help says more about one; pgflow --version prints the version.',
    'The database is the one that --database, DATABASE_URL or PGHOST and so on name.',
    '',
    'Exit status:',
    ...columns([
      ['0', 'all is well'],
      ['1', 'a run failed or was cancelled, the database refused, or there are differences'],
      ['2', 'the call was wrong: an unknown option, a file that cannot be loaded, a faulty flow'],
      ['3', 'the database cannot be reached'],
    ]),
    '',
  ].join('\n');
}

/** The version of this package, wherever it was built to. */
function version(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      return JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')).version;
    } catch (error) {
      if (folder.pathname === '/' || folder.href === new URL('..', folder).href) throw error;
    }
  }
}

async function main(given: readonly string[]): Promise<ExitStatus> {
  const [name, ...rest] = given;
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`);
    return Exit.ok;
  }
  if (name === undefined || name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    (name === undefined ? process.stderr : process.stdout).write(overview());
    return name === undefined ? Exit.usage : Exit.ok;
  }
  const wanted = name === 'help' ? rest[0] : name;
  const command = COMMANDS.find((one) => one.name === wanted);
  if (command === undefined) {
    process.stderr.write(`pgflow: there is no command ${JSON.stringify(wanted)}; there are ${COMMANDS.map((one) => one.name).join(', ')}\n`);
    return Exit.usage;
  }
  if (name === 'help') {
    process.stdout.write(help(command));
    return Exit.ok;
  }
  try {
    const call = read(command, rest);
    if (call === undefined) {
      process.stdout.write(help(command));
      return Exit.ok;
    }
    return await command.run(call);
  } catch (error) {
    return report(command, error);
  }
}

/** Says what went wrong, and returns the status to end with. */
function report(command: Command, error: unknown): ExitStatus {
  const say = (text: string) => process.stderr.write(`pgflow ${command.name}: ${text}\n`);
  if (error instanceof UsageError) {
    say(error.message);
    process.stderr.write(`pgflow ${command.name} --help says how it is called.\n`);
    return Exit.usage;
  }
  if (error instanceof Refusal) {
    say(error.message);
    return error.status;
  }
  if (error instanceof FlowDefinitionError) {
    say(error.message);
    return Exit.usage;
  }
  const explained = explain(error);
  if (explained !== undefined) {
    say(explained.message);
    return explained.status;
  }
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return Exit.no;
}

// Who reads may stop reading, as head does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(Exit.ok);
  throw error;
});

process.exitCode = await main(process.argv.slice(2));
