/** What a command of the CLI is: its options, its help, how it ends. */
import { parseArgs } from 'node:util';

/** How a command ends, as the exit status says it. */
export const Exit = {
  /** It is as it should be. */
  ok: 0,
  /** It is not: the run failed, the database refused, there are differences. */
  no: 1,
  /** The call was wrong: an unknown option, a file without a flow, a faulty flow. */
  usage: 2,
  /** The database cannot be reached. */
  unreachable: 3,
} as const;

export type ExitStatus = number;

/** A call that cannot be understood; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Something that ends the command with another status than a crash; the message is for whoever called. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: ExitStatus;

  constructor(message: string, status: ExitStatus = Exit.no) {
    super(message);
    this.status = status;
  }
}

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** What stands for the value in the help. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly name: string;
  /** What follows the name, as the help shows it. */
  readonly operands: string;
  /** One line. */
  readonly summary: string;
  /** What else there is to know; several lines. */
  readonly description?: string;
  readonly options: Readonly<Record<string, Option>>;
  /** How many operands it takes. */
  readonly takes: { readonly least: number; readonly most: number };
  run(call: Call): Promise<ExitStatus>;
}

/** What a command is called with. */
export class Call {
  readonly operands: readonly string[];
  readonly #values: Readonly<Record<string, string | boolean | undefined>>;

  constructor(operands: readonly string[], values: Readonly<Record<string, string | boolean | undefined>>) {
    this.operands = operands;
    this.#values = values;
  }

  /** Whether a flag is set. */
  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** The value of an option. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** The value of an option that is a whole number. */
  whole(name: string, least: number): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number) || number < least) {
      throw new UsageError(`--${name} ${value} is not a whole number${least > Number.MIN_SAFE_INTEGER ? ` of ${least} or more` : ''}`);
    }
    return number;
  }

  get json(): boolean {
    return this.flag('json');
  }
}

/** Options of every command. */
const COMMON: Record<string, Option> = {
  json: { type: 'boolean', help: 'print JSON, for programs' },
  help: { type: 'boolean', short: 'h', help: 'print this help' },
};

/** Options of commands that ask a database. */
export const DATABASE: Record<string, Option> = {
  database: { type: 'string', short: 'd', value: 'URL', help: 'postgres://…; otherwise DATABASE_URL, PGHOST and so on say where it is' },
};

/** Reads the arguments of a command; `undefined` when help is asked for. */
export function read(command: Command, given: readonly string[]): Call | undefined {
  const known = { ...command.options, ...COMMON };
  const options = Object.fromEntries(
    Object.entries(known).map(([name, { type, short }]) => [name, short === undefined ? { type } : { type, short }]),
  );
  let parsed;
  try {
    parsed = parseArgs({ args: [...given], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.replace(/\n[^]*/, '') : String(error));
  }
  if (parsed.values['help'] === true) return undefined;
  const { least, most } = command.takes;
  const { length } = parsed.positionals;
  if (length < least) throw new UsageError(`missing: ${command.operands}`);
  if (length > most) throw new UsageError(`what is ${JSON.stringify(parsed.positionals[most])}?`);
  return new Call(parsed.positionals, parsed.values as Record<string, string | boolean | undefined>);
}

/** The help of a command. */
export function help(command: Command): string {
  const lines = [`Usage: pgflow ${command.name} ${command.operands}`.trimEnd(), '', command.summary];
  if (command.description !== undefined) lines.push('', command.description);
  const options = Object.entries({ ...command.options, ...COMMON }).map(([name, option]): [string, string] => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `;
    const value = option.type === 'string' ? ` ${option.value ?? 'TEXT'}` : '';
    return [`${short}--${name}${value}`, option.help];
  });
  lines.push('', 'Options:', ...columns(options));
  return `${lines.join('\n')}\n`;
}

/** Two columns, the second one aligned. */
export function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
