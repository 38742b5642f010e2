/** `pgflow init`: a first flow, and what to do with it. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Exit, Refusal, UsageError } from './command.js';
import type { Call, Command, ExitStatus } from './command.js';
import { findTsx, isModule, loadsTypeScript } from './load.js';

export const init: Command = {
  name: 'init',
  operands: '[FOLDER]',
  summary: 'write a first flow into a project',
  description: [
    'Writes flows/greet.ts, or flows/greet.mts where package.json does not say "type": "module", or flows/greet.mjs where',
    'TypeScript could not be loaded, and says what to do next. Overwrites nothing. FOLDER is the project, the current',
    'folder unless said otherwise.',
  ].join('\n'),
  options: {
    typescript: { type: 'boolean', help: 'write TypeScript, whatever this runtime loads' },
    javascript: { type: 'boolean', help: 'write JavaScript' },
  },
  takes: { least: 0, most: 1 },
  run: writeFirstFlow,
};

const PACKAGE = '@pgflow-native/client';

function greet(typescript: boolean): string {
  return `import { Flow, type } from '${PACKAGE}';

// A step without deps gets the payload of the run as "run", the others what their deps returned as well. A map has a
// task for each element of an array.
export const greet = new Flow({ slug: 'greet'${typescript ? ', input: type<{ names: string[] }>()' : ''} })
  .step({ slug: 'guests' }, ({ run }) => run.names.filter((name) => name !== ''))
  .map({ slug: 'greeting', dependsOn: ['guests'], maxAttempts: 5 }, async ({ item, index }) => \`\${index + 1}. Hello, \${item}!\`)
  .step({ slug: 'letter', dependsOn: ['greeting'] }, ({ greeting }) => greeting.join('\\n'));
`.replace('import { Flow, type }', typescript ? 'import { Flow, type }' : 'import { Flow }');
}

async function writeFirstFlow(call: Call): Promise<ExitStatus> {
  if (call.flag('typescript') && call.flag('javascript')) throw new UsageError('--typescript or --javascript, not both');
  const folder = resolve(call.operands[0] ?? '.');
  const typescript =
    call.flag('typescript') ||
    (!call.flag('javascript') && (loadsTypeScript() || findTsx(join(folder, 'package.json')) !== undefined));
  // A .ts file is an ES module only where package.json says so.
  const name = !typescript ? 'greet.mjs' : isModule(join(folder, 'flows', 'greet.ts')) ? 'greet.ts' : 'greet.mts';
  const path = join(folder, 'flows', name);
  const shown = relative(process.cwd(), path);
  if (existsSync(path)) throw new Refusal(`${shown} is there already`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, greet(typescript), { flag: 'wx' });
  const next = [
    ...(existsSync(join(folder, 'node_modules', PACKAGE)) ? [] : [`npm install ${PACKAGE} pg`]),
    ...(process.env['DATABASE_URL'] || process.env['PGHOST'] ? [] : ['export DATABASE_URL=postgres://postgres@localhost:5432/postgres']),
    `npx pgflow deploy ${shown}`,
    `npx pgflow worker ${shown} &`,
    `npx pgflow run greet '{"names": ["Ann", "Bob"]}' --watch`,
  ];
  if (call.json) process.stdout.write(`${JSON.stringify({ file: shown, next }, null, 2)}\n`);
  else process.stdout.write(`wrote ${shown}. Next:\n\n${next.map((line) => `  ${line}`).join('\n')}\n`);
  return Exit.ok;
}
