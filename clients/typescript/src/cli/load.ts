/** Flows out of the files that define them. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isFlow } from '../brand.js';
import type { AnyFlow } from '../flow.js';
import { Exit, Refusal } from './command.js';

export interface LoadedFlow {
  readonly flow: AnyFlow;
  /** The file, as it is best shown. */
  readonly file: string;
}

/** The flows that the files export, each once, in the order of the files. */
export async function loadFlows(files: readonly string[]): Promise<LoadedFlow[]> {
  const loaded: LoadedFlow[] = [];
  for (const file of files) {
    const shown = relative(process.cwd(), resolve(file)) || file;
    const flows = flowsOf(await load(file, shown));
    if (flows.length === 0) {
      throw new Refusal(`${shown} exports no flow: write "export const … = new Flow(…)" or "export default …"`, Exit.usage);
    }
    for (const flow of flows) {
      const other = loaded.find((one) => one.flow.slug === flow.slug);
      // A flow may be exported again by another file.
      if (other?.flow === flow) continue;
      if (other !== undefined) {
        throw new Refusal(`two flows have the slug "${flow.slug}", in ${other.file} and ${shown}`, Exit.usage);
      }
      loaded.push({ flow, file: shown });
    }
  }
  return loaded;
}

/** What a module exports: flows, arrays of flows, and what is in a default export, as CommonJS modules have it. */
function flowsOf(module: object): AnyFlow[] {
  const inDefault = 'default' in module && typeof module.default === 'object' && module.default !== null ? module.default : {};
  return [...new Set([...Object.values(module), ...(isFlow(inDefault) ? [] : Object.values(inDefault))].flat().filter(isFlow))];
}

async function load(file: string, shown: string): Promise<object> {
  const path = resolve(file);
  if (!existsSync(path)) throw new Refusal(`there is no file ${shown}`, Exit.usage);
  if (/^\.[cm]?tsx?$/.test(extname(path))) await readyForTypeScript(path, shown);
  try {
    return await import(pathToFileURL(path).href);
  } catch (error) {
    // By its name: it may be that of another copy of this package.
    if (error instanceof Error && error.name === 'FlowDefinitionError') throw new Refusal(`${shown}: ${error.message}`, Exit.usage);
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const hint = /\.[jt]sx?$/.test(path) && !isModule(path)
      ? `\nIts package.json does not say "type": "module". Write that there, or name the file ${shown.replace(/\.([jt]sx?)$/, '.m$1')}.`
      : '';
    throw new Refusal(`${shown} cannot be loaded: ${why}${hint}`, Exit.usage);
  }
}

/** Whether the package that the file is in says that its files are ES modules. */
export function isModule(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest)) {
      try {
        return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (folder === dirname(folder)) return false;
  }
}

/** Whether this runtime loads TypeScript by itself. */
export function loadsTypeScript(): boolean {
  if ('Deno' in globalThis || 'Bun' in globalThis) return true;
  const { typescript } = process.features as { typescript?: unknown };
  if (typescript !== undefined) return Boolean(typescript);
  // From 22.6 to 22.9 the option is there and the feature is not told.
  return `${process.execArgv.join(' ')} ${process.env['NODE_OPTIONS'] ?? ''}`.includes('--experimental-strip-types');
}

/** The tsx that is installed where the file is, or where the command runs. */
export function findTsx(path: string, folder = process.cwd()): string | undefined {
  for (const from of [path, join(folder, 'package.json')]) {
    try {
      // What require finds is the CommonJS twin, which does not find its other half.
      return createRequire(from).resolve('tsx/esm/api').replace(/\.cjs$/, '.mjs');
    } catch {
      // Not there; perhaps in the next place.
    }
  }
  return undefined;
}

let tsxRegistered = false;

async function readyForTypeScript(path: string, shown: string): Promise<void> {
  if (loadsTypeScript() || tsxRegistered) return;
  const tsx = findTsx(path);
  if (tsx === undefined) {
    throw new Refusal(
      `Node ${process.versions.node} does not load TypeScript by itself, and ${shown} is TypeScript. Do one of these:\n` +
        '  npm install --save-dev tsx     and try again\n' +
        '  use Node 22.18 or newer, Deno or Bun\n' +
        '  on Node 22.6 or newer: NODE_OPTIONS=--experimental-strip-types\n' +
        '  compile it, and name the .js file',
      Exit.usage,
    );
  }
  // A file of a package that is not "type": "module" is loaded by require, which has hooks of its own.
  const commonJs = tsx.replace(/esm([\\/]api[\\/]index)\.mjs$/, 'cjs$1.cjs');
  for (const api of existsSync(commonJs) ? [commonJs, tsx] : [tsx]) {
    const { register } = (await import(pathToFileURL(api).href)) as { register: () => unknown };
    register();
  }
  tsxRegistered = true;
}
