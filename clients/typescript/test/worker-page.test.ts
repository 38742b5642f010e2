/** What docs/typescript-workers.md shows compiles, with what it takes for given. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const built = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(process.env['PGFLOW_ROOT'] ?? '../..', 'docs', 'typescript-workers.md'), 'utf8');
const project = mkdtempSync(join(tmpdir(), 'pgflow-workers-page-'));
after(() => rmSync(project, { recursive: true, force: true }));

/** What the reader has. */
const GIVEN = `
  import type { Client, SupabaseLike } from '@pgflow-native/client/client';
  import type { ConnectionOptions, FetchHandler, StepContext } from '@pgflow-native/client/serve';
  import type { digest as theDigest } from './flows.js';
  declare global {
    const supabase: SupabaseLike;
    const pgflow: Client<{ digest: typeof theDigest }>;
    const digest: typeof theDigest;
    const handler: FetchHandler;
    const context: StepContext;
    const connection: ConnectionOptions;
    const url: string;
    type Ref = { runId: string; stepSlug: string; taskIndex: number; lease: number };
    const callbackData: Ref;
    function startVideo(options: { callbackData: Ref }): Promise<void>;
    function currentToken(): string;
  }`;

test('the examples of the page compile', () => {
  mkdirSync(join(project, 'node_modules', '@pgflow-native'), { recursive: true });
  symlinkSync(built, join(project, 'node_modules', '@pgflow-native', 'client'));
  for (const name of ['@types', '@opentelemetry', 'react']) symlinkSync(join(built, 'node_modules', name), join(project, 'node_modules', name));
  writeFileSync(join(project, 'package.json'), '{"type": "module"}');
  writeFileSync(join(project, 'given.d.ts'), GIVEN);
  const blocks = [...page.matchAll(/^```(tsx?)\n([^]*?)^```$/gm)].map(([, kind, text]) => [kind!, text!] as const);
  assert.ok(blocks.length >= 10, `${blocks.length} blocks`);
  blocks.forEach(([kind, text], n) => writeFileSync(join(project, n === 0 ? 'flows.ts' : `example${n}.${kind}`), `${text}\nexport {};\n`));
  const files = readdirSync(project).filter((name) => /\.tsx?$/.test(name));
  const options = ['--strict', '--exactOptionalPropertyTypes', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--jsx', 'react-jsx', '--lib', 'es2023,dom,dom.iterable', '--types', 'node'];
  const tsc = join(built, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, ...files], { cwd: project, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
