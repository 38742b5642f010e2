/**
 * Doors to a database over HTTP, for tests of what speaks to one: a stand-in for PostgREST, which serves functions of
 * schema `pgflow` in the way that `docs/postgrest.md` describes and tells nobody of changes, and pgflow-live, if its binary
 * is named by PGFLOW_LIVE.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { eventually } from './database.js';
import type { TestDatabase } from './database.js';

export const JWT_SECRET = 'a secret of at least thirty-two bytes';

export interface Door {
  readonly url: string;
  /** How often each function was called. */
  readonly calls: Map<string, number>;
  close(): Promise<void>;
}

/** Users who start and watch runs, workers and operators, behind a gateway that logs in as `gateway`. */
export async function prepareRoles(db: TestDatabase): Promise<void> {
  await db.rows(`
    do $$
    begin
      if not exists (select from pg_roles where rolname = 'gateway') then
        create role gateway login noinherit;
        create role visitor nologin;
        create role member nologin;
        create role staff nologin;
        grant visitor, member, staff to gateway;
      end if;
    end $$`);
  await db.rows(`insert into pgflow.gateway_roles values ('gateway')`);
  await db.rows(`select pgflow.grant_access('member', 'client'), pgflow.grant_access('staff', 'operator'), pgflow.grant_access('staff', 'worker')`);
}

/** A token of a user. */
export function token(sub: string, role = 'member', seconds = 3_600): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, role, exp: Math.floor(Date.now() / 1_000) + seconds })}`;
  return `${head}.${createHmac('sha256', JWT_SECRET).update(head).digest('base64url')}`;
}

function claimsOf(request: IncomingMessage): { role?: string; sub?: string } | undefined {
  const given = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
  if (given === undefined) return { role: 'visitor' };
  const [head = '', body = '', signature = ''] = given.split('.');
  if (createHmac('sha256', JWT_SECRET).update(`${head}.${body}`).digest('base64url') !== signature) return undefined;
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  return claims.exp > Date.now() / 1_000 ? claims : undefined;
}

/** Starts a stand-in for PostgREST; `prefix` is where Supabase has it. */
export async function startPostgrest(db: TestDatabase, prefix = ''): Promise<Door> {
  const pool = new pg.Pool({ connectionString: db.url.replace(/\/\/[^@]*@/, '//gateway@'), max: 8 });
  pool.on('error', () => {});
  const calls = new Map<string, number>();
  const server = createServer((request, response) => {
    void answer(request, response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body?: unknown) => {
      response.statusCode = status;
      response.setHeader('Content-Type', 'application/json');
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Access-Control-Allow-Headers', '*, Authorization');
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const found = new RegExp(`^${prefix}/rpc/(\\w+)$`).exec(request.url ?? '');
    if (request.method === 'OPTIONS') return say(204);
    if (request.method !== 'POST' || found === null) return say(404, { code: 'PGRST125', message: 'invalid path' });
    const claims = claimsOf(request);
    if (claims === undefined) return say(401, { code: 'PGRST301', message: 'JWT expired' });
    if (request.headers['content-profile'] !== 'pgflow') return say(404, { code: 'PGRST202', message: 'not in schema public' });
    const name = found[1]!;
    calls.set(name, (calls.get(name) ?? 0) + 1);
    const client = await pool.connect();
    try {
      const [shape] = (
        await client.query(
          `select p.proretset as is_set, p.prorettype = 'void'::regtype as is_void,
                  (select jsonb_object_agg(n, format_type(t, null)) from unnest(p.proargnames, p.proargtypes::oid[]) a(n, t) where t is not null) as types
           from pg_proc p where p.pronamespace = 'pgflow'::regnamespace and p.proname = $1`,
          [name],
        )
      ).rows;
      if (shape === undefined) return say(404, { code: 'PGRST202', message: `no function ${name}` });
      const args = Object.keys(JSON.parse(text)).map((arg) => {
        const type = (shape.types ?? {})[arg];
        if (type === undefined) throw Object.assign(new Error(`no argument ${arg}`), { code: '42883' });
        return `${arg} => (select a."${arg}" from json_to_record($1::json) a("${arg}" ${type}))`;
      });
      await client.query('begin');
      await client.query(`select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, [claims.role, JSON.stringify(claims)]);
      const { rows } = await client.query(
        `select ${shape.is_set ? `coalesce(json_agg(to_json(t)), '[]')` : `to_json(t)`} as body from pgflow.${name}(${args.join(', ')}) t`,
        args.length === 0 ? [] : [text],
      );
      await client.query('commit');
      if (shape.is_void) return say(204);
      return say(200, rows[0].body);
    } catch (thrown) {
      await client.query('rollback').catch(() => {});
      const { code, message, detail = null, hint = null } = thrown as pg.DatabaseError;
      const status = code === '42501' ? (claims.role === 'visitor' ? 401 : 403) : code?.startsWith('PT') ? Number(code.slice(2)) : code === '42883' ? 404 : 400;
      return say(code === undefined ? 503 : status, { code: code ?? 'PGRST000', message, details: detail, hint });
    } finally {
      client.release();
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`,
    calls,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await pool.end();
    },
  };
}

/** The binary of pgflow-live, if it has been built. */
export const liveBinary = process.env['PGFLOW_LIVE'];

export interface LiveDoor {
  readonly url: string;
  /** Ends it as a crash would, and starts it again at the same place after so many milliseconds. */
  restart(away: number): Promise<void>;
  close(): Promise<void>;
}

/** Starts pgflow-live for the database that the URL names, whose roles have been prepared. */
export async function startLive(place: { host: string; database: string }): Promise<LiveDoor> {
  let child: ChildProcess;
  let url = '';
  const begin = async (address: string): Promise<void> => {
    child = spawn(
      liveBinary!,
      ['--database', `host=${place.host} port=5432 user=gateway dbname=${place.database}`, '--listen', address, '--jwt-secret', JWT_SECRET, '--anon-role', 'visitor'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (said += text));
    await eventually(async () => said, (text) => /http:\/\/\S+/.test(text));
    url = /http:\/\/[^\s/]+/.exec(said)![0];
  };
  const end = async (): Promise<void> => {
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
  };
  await begin('127.0.0.1:0');
  return {
    get url() {
      return url;
    },
    restart: async (away) => {
      await end();
      await new Promise((resolve) => setTimeout(resolve, away));
      await begin(url.replace('http://', ''));
    },
    close: end,
  };
}
