/** What docs/typescript.md shows is true: its TypeScript compiles, and its migration is what comes of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Flow, FlowDefinitionError, isFlow, toSql } from '../src/index.js';
import type { AnyFlow } from '../src/index.js';

const built = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(process.env['PGFLOW_ROOT'] ?? '../..', 'docs', 'typescript.md'), 'utf8');
const project = mkdtempSync(join(tmpdir(), 'pgflow-page-'));
after(() => rmSync(project, { recursive: true, force: true }));

function blocks(language: string): string[] {
  return [...page.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].filter(([, name]) => name === language).map(([, , text]) => text as string);
}

test('the examples of the page compile, and the migration is that of the first', async () => {
  mkdirSync(join(project, 'node_modules', '@pgflow-native'), { recursive: true });
  symlinkSync(built, join(project, 'node_modules', '@pgflow-native', 'client'));
  symlinkSync(join(built, 'node_modules', '@types'), join(project, 'node_modules', '@types'));
  writeFileSync(join(project, 'package.json'), '{"type": "module"}');
  const files = blocks('ts').map((text, n) => {
    writeFileSync(join(project, `example${n}.ts`), text);
    return `example${n}.ts`;
  });
  assert.ok(files.length >= 4);
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023,dom', '--types', 'node'];
  const tsc = join(built, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, ...files], { cwd: project, encoding: 'utf8' });
  assert.equal(status, 0, stdout);

  const flows: AnyFlow[] = [];
  for (const file of files) {
    const module: object = await import(pathToFileURL(join(project, file.replace(/ts$/, 'js'))).href);
    flows.push(...Object.values(module).filter(isFlow));
  }
  assert.deepEqual(flows.map(({ slug }) => slug), ['digest', 'thumbnails', 'month_end', 'order']);
  assert.deepEqual(blocks('sql'), [toSql(flows[0]!)]);
});

test('the error that the page shows is the one that is thrown', () => {
  const orders: any = new Flow({ slug: 'orders' }).step({ slug: 'load' }, () => 1).step({ slug: 'list' }, () => []);
  assert.throws(
    () => orders.step({ slug: 'ship', timeout: 0, dependsOn: ['laod'] }, () => 1),
    (error) => error instanceof FlowDefinitionError && blocks('').includes(`${error.name}: ${error.message}\n`),
  );
});
