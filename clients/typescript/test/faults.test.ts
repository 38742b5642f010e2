/** That the compiler's messages say what is wrong: the files of test/faults are compiled, and each line says its message. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('../..', import.meta.url));
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

test('each fault of a flow is a compile error that says what is wrong', () => {
  const file = join(project, 'test', 'faults', 'flow.ts');
  const expected = new Map<number, string>();
  readFileSync(file, 'utf8').split('\n').forEach((line, n) => {
    const said = /\/\/ error: (.*)$/.exec(line)?.[1];
    if (said !== undefined) expected.set(n + 1, said);
  });
  assert.ok(expected.size > 15);

  const { stdout } = spawnSync(process.execPath, [tsc, '-p', join(project, 'test', 'faults'), '--pretty', 'false'], { encoding: 'utf8' });
  // A message goes on in the lines that are indented.
  const found = stdout.split(/\n(?! )/).filter((message) => message !== '');
  const byLine = new Map<number, string>();
  for (const message of found) {
    const line = Number(/flow\.ts\((\d+),/.exec(message)?.[1]);
    byLine.set(line, `${byLine.get(line) ?? ''}${message}\n`);
  }
  for (const [line, said] of expected) {
    assert.ok(byLine.get(line)?.includes(said), `line ${line} should say ${said}, and says ${byLine.get(line)}`);
  }
  for (const [line, message] of byLine) assert.ok(expected.has(line), `unexpected: ${message}`);
});
