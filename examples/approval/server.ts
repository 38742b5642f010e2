/**
 * The program behind the page: it serves the page's files, signs people in, and lists for managers what waits for them.
 * Everything else the page does at pgflow-live, with the token it got here. Prints its address.
 *
 * LIVE_URL is the address of pgflow-live, JWT_SECRET the secret of tokens; PGHOST and so on say where the database is.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { people } from './people.js';
import type { Person } from './people.js';
import { sign, verify } from './tokens.js';

const { LIVE_URL = '', JWT_SECRET = '', PORT = '0' } = process.env;
const database = new pg.Pool({ max: 2 });

/** The files that a browser may have: those of the page, and the client, as it was compiled. */
const TYPES: Record<string, string> = { html: 'text/html', css: 'text/css', js: 'text/javascript' };
const PAGE = new URL('../page/', import.meta.url);
const CLIENT = new URL('.', import.meta.resolve('@pgflow-native/client/client'));

function fileOf(path: string): URL | undefined {
  if (path === '/') return new URL('index.html', PAGE);
  if (path === '/style.css') return new URL('style.css', PAGE);
  const script = /^\/(page|people)\.js$/.exec(path)?.[1];
  if (script === 'page') return new URL('page/page.js', import.meta.url);
  if (script === 'people') return new URL('people.js', import.meta.url);
  const module = /^\/client\/([a-z-]+\.js)$/.exec(path)?.[1];
  return module === undefined ? undefined : new URL(module, CLIENT);
}

/** There are no passwords here: whoever asks is who they say. In a program of yours this is where people log in. */
function signIn(person: unknown): object | undefined {
  if (typeof person !== 'string' || !Object.hasOwn(people, person)) return undefined;
  const expiresIn = 900;
  const exp = Math.floor(Date.now() / 1000) + expiresIn;
  return { token: sign({ role: people[person as Person].role, sub: person, exp }, JWT_SECRET), expiresIn, live: LIVE_URL };
}

/** What waits for a manager. The role that this program has owns the flow, so it sees all of its runs. */
async function inbox(): Promise<object[]> {
  const { rows } = await database.query(
    `SELECT r.run_id, r.created_for AS who, r.payload ->> 'purpose' AS purpose, (r.payload ->> 'amount')::float8 AS amount
     FROM pgflow.step_states s JOIN pgflow.runs r USING (run_id)
     WHERE s.flow_slug = 'expense' AND s.step_slug = 'approve' AND s.status = 'started'
     ORDER BY s.started_at`,
  );
  return rows;
}

async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const json = (status: number, body: object): void => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body));
  };
  const { pathname } = new URL(request.url ?? '/', 'http://here');
  if (request.method === 'POST' && pathname === '/sign-in') {
    const { person } = await bodyOf(request);
    const signedIn = signIn(person);
    return signedIn === undefined ? json(404, { message: 'there is no such person' }) : json(200, signedIn);
  }
  if (request.method !== 'GET') return json(405, { message: 'only GET' });
  if (pathname === '/inbox') {
    const [, token = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    return verify(token, JWT_SECRET)?.role === 'manager' ? json(200, await inbox()) : json(403, { message: 'for managers only' });
  }
  const file = fileOf(pathname);
  if (file === undefined) return json(404, { message: 'there is nothing' });
  const type = TYPES[file.pathname.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' }).end(await readFile(file));
}

/** A small JSON object; anything else is an empty one. */
async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let body = '';
  request.setEncoding('utf8');
  for await (const chunk of request) {
    body += chunk;
    if (body.length > 10_000) break;
  }
  try {
    return Object(JSON.parse(body)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

const server = createServer((request, response) => {
  respond(request, response).catch((error: unknown) => {
    console.error(`${request.method} ${request.url}:`, error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
