/** The client in Chromium: as the plain modules of dist, and as React state. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { Flow, toDefinition, type } from '../src/index.js';
import { createWorker } from '../src/worker.js';
import type { Worker } from '../src/worker.js';
import { liveBinary, prepareRoles, startLive, token } from './client-door.js';
import type { LiveDoor } from './client-door.js';
import { createDatabase } from './database.js';
import type { TestDatabase } from './database.js';

const executable = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const missing = liveBinary === undefined ? 'PGFLOW_LIVE names no binary' : !existsSync(executable) ? `there is no ${executable}` : false;

/** Where the package was built: its dist is beside dist-test. */
const built = findDist(dirname(fileURLToPath(import.meta.url)));

function findDist(from: string): string {
  return existsSync(join(from, 'dist', 'client.js')) ? join(from, 'dist') : findDist(dirname(from));
}

const digest = new Flow({ slug: 'digest', input: type<{ topic: string; fail?: boolean }>(), maxAttempts: 1 })
  .step({ slug: 'fetch' }, async ({ run }) => {
    await sleep(300);
    if (run.fail === true) throw new Error('no network');
    return [`${run.topic} one`, `${run.topic} two`];
  })
  .map({ slug: 'summarise', dependsOn: ['fetch'] }, async ({ item }) => {
    await sleep(300);
    return item.toUpperCase();
  })
  .step({ slug: 'publish', dependsOn: ['summarise'] }, async ({ summarise }) => {
    await sleep(300);
    return { text: summarise.join(', ') };
  });

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A page that starts a run with the modules as they are in dist, and writes down what it is told. */
const PLAIN = `<!doctype html><title>plain</title><ol id="told"></ol><pre id="end"></pre>
<script type="module">
  import { createClient } from '/dist/client.js';
  const { url, token, payload } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const pgflow = createClient({ url, token });
  const tell = (text) => { document.querySelector('#told').append(Object.assign(document.createElement('li'), { textContent: text })); };
  const run = await pgflow.startFlow('digest', payload);
  run.on('run', ({ status }) => tell('run ' + status));
  run.on('step', ({ slug, status }) => tell(slug + ' ' + status + ' ' + run.transport));
  const end = (text) => { document.querySelector('#end').textContent = text; };
  run.result.then((output) => end(JSON.stringify(output)), (error) => end(error.name + ': ' + error.message));
</script>`;

/** The same with React. */
const REACT = `
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from '${built}/client.js';
import { useRun } from '${built}/react.js';

const { url, token, payload } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const pgflow = createClient({ url, token });

function Progress({ run, name }) {
  const { status, steps, run: info, error, isLoading, runId } = useRun(pgflow, run);
  useEffect(() => {
    for (const step of steps) (globalThis.seen ??= []).push(name + ' ' + step.slug + ' ' + step.status);
  }, [steps]);
  return (
    <section id={name}>
      <p className="status">{runId === undefined ? 'none' : isLoading ? 'loading' : error ? error.message : status}</p>
      <ol>{steps.map((step) => <li key={step.slug}>{step.slug} {step.status}</li>)}</ol>
      <pre>{status === 'completed' ? info.output.publish.text : info?.errorMessage?.split('\\n')[0]}</pre>
    </section>
  );
}

function App() {
  const [runId, setRunId] = useState(null);
  const [handle, setHandle] = useState(null);
  const [isShown, show] = useState(true);
  return (
    <>
      <button id="start" onClick={async () => setRunId(await pgflow.runFlow('digest', payload))}>start</button>
      <button id="handle" onClick={async () => setHandle(await pgflow.startFlow('digest', payload))}>start a handle</button>
      <button id="wrong" onClick={() => setRunId('01900000-0000-7000-8000-000000000001')}>wrong</button>
      <button id="hide" onClick={() => show(false)}>hide</button>
      <output id="id">{runId}</output>
      {isShown && <Progress name="by-id" run={runId} />}
      {isShown && <Progress name="by-handle" run={handle} />}
    </>
  );
}
createRoot(document.querySelector('#root')).render(<StrictMode><App /></StrictMode>);
`;

describe('in a browser', { skip: missing }, () => {
  let db: TestDatabase;
  let live: LiveDoor;
  let worker: Worker;
  let server: Server;
  let browser: Browser;
  let pages: string;

  before(async () => {
    db = await createDatabase('browser');
    await prepareRoles(db);
    await db.rows('select pgflow.define_flow($1::jsonb)', [JSON.stringify(toDefinition(digest))]);
    await db.rows(`select pgflow.set_realtime('digest'), pgflow.grant_run('digest', 'member')`);
    live = await startLive({ host: process.env['PGHOST']!, database: db.name });
    worker = createWorker({ connection: db.url, flows: [digest], logger: false });
    await worker.start();
    const bundle = await build({
      stdin: { contents: REACT, loader: 'jsx', resolveDir: built },
      bundle: true,
      write: false,
      format: 'esm',
      jsx: 'automatic',
      define: { 'process.env.NODE_ENV': '"development"' },
    });
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url!, 'http://localhost');
      const answer = async (): Promise<[string, string | Buffer]> => {
        if (pathname === '/plain') return ['text/html', PLAIN];
        if (pathname === '/react') return ['text/html', '<!doctype html><title>react</title><div id="root"></div><script type="module" src="/react.js"></script>'];
        if (pathname === '/react.js') return ['text/javascript', bundle.outputFiles[0]!.text];
        if (/^\/dist\/[\w-]+\.js$/.test(pathname)) return ['text/javascript', await readFile(join(built, pathname.slice(6)))];
        return ['text/plain', ''];
      };
      answer().then(
        ([kind, body]) => response.setHeader('Content-Type', kind).end(body),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    pages = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({
      executablePath: executable,
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
  });
  after(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    await worker?.stop();
    await live?.close();
    await db?.drop();
  });

  async function open(path: string, payload: unknown): Promise<{ page: Page; faults: string[] }> {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(message.text()));
    await page.goto(`${pages}${path}#${encodeURIComponent(JSON.stringify({ url: live.url, token: token('ann'), payload }))}`);
    return { page, faults };
  }

  const texts = (page: Page, selector: string) => page.locator(selector).allTextContents();

  test('a page sees each step change as it happens, and gets the output', async () => {
    const { page, faults } = await open('/plain', { topic: 'databases' });
    await page.waitForFunction(() => document.querySelector('#end')!.textContent !== '');
    assert.equal(await page.locator('#end').textContent(), '{"publish":{"text":"DATABASES ONE, DATABASES TWO"}}');
    assert.deepEqual(await texts(page, '#told li'), [
      'run started', 'fetch started realtime', 'fetch completed realtime', 'summarise started realtime', 'summarise completed realtime',
      'publish started realtime', 'publish completed realtime', 'run completed',
    ]);
    assert.deepEqual(faults, []);
    await page.close();
  });

  test('it gets the error of the step', async () => {
    const { page } = await open('/plain', { topic: 'x', fail: true });
    await page.waitForFunction(() => document.querySelector('#end')!.textContent !== '');
    assert.equal(await page.locator('#end').textContent(), 'RunFailedError: step fetch: Error: no network');
    assert.ok((await texts(page, '#told li')).includes('publish cancelled realtime'));
    await page.close();
  });

  test('useRun shows a run, by its id and by its handle', async () => {
    const { page, faults } = await open('/react', { topic: 'react' });
    assert.deepEqual(await texts(page, '.status'), ['none', 'none']);
    for (const [button, section] of [['#start', '#by-id'], ['#handle', '#by-handle']] as const) {
      await page.click(button);
      await page.locator(`${section} .status`, { hasText: 'completed' }).waitFor();
      const seen = (await page.evaluate('globalThis.seen')) as string[];
      for (const step of ['fetch started', 'summarise started', 'publish started']) assert.ok(seen.includes(`${section.slice(1)} ${step}`), seen.join(', '));
      assert.equal(await page.locator(`${section} pre`).textContent(), 'REACT ONE, REACT TWO');
      assert.deepEqual(await texts(page, `${section} li`), ['fetch completed', 'summarise completed', 'publish completed']);
    }
    assert.deepEqual(faults, []);
    await page.close();
  });

  test('useRun shows a retry, and an error, and leaves nothing open', async () => {
    const { page } = await open('/react', { topic: 'x', fail: true });
    await page.click('#start');
    await page.locator('#by-id .status', { hasText: 'failed' }).waitFor();
    assert.equal(await page.locator('#by-id pre').textContent(), 'Error: no network');
    const runId = (await page.locator('#id').textContent())!;
    await db.rows('select pgflow.retry_run($1)', [runId]);
    await page.locator('#by-id .status', { hasText: 'started' }).waitFor();
    await page.locator('#by-id .status', { hasText: 'failed' }).waitFor();
    const watchers = async () => ((await (await fetch(`${live.url}/health`)).json()) as { watchers: number }).watchers;
    assert.equal(await watchers(), 1);
    await page.click('#hide');
    const until = Date.now() + 5_000;
    while ((await watchers()) !== 0) {
      assert.ok(Date.now() < until, 'somebody still watches');
      await sleep(50);
    }
    await page.close();
    const { page: other } = await open('/react', {});
    await other.click('#wrong');
    await other.locator('#by-id .status', { hasText: 'run not found' }).waitFor();
    await other.close();
  });
});
