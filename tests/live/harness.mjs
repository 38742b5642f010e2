// What the tests share: the list of them, the database, and pgflow-live.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import pg from 'pg'

const tests = []

/** The function is a test, and its name what it proves. */
export function test(name, body) {
  tests.push({ name, body })
}

/** Runs those in whose names one of the words occurs; the exit code. */
export async function run(words) {
  let failed = 0
  const chosen = tests.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
  for (const { name, body } of chosen) {
    const began = Date.now()
    let limit
    try {
      await Promise.race([
        body(),
        new Promise((_, reject) => {
          limit = setTimeout(() => reject(new Error('it took more than two minutes')), 120_000)
        }),
      ])
      console.log(`ok      ${name} (${Date.now() - began} ms)`)
    } catch (error) {
      failed += 1
      console.log(`FAILED  ${name}\n${error.stack ?? error}`)
      if (error.cause) console.log(`because of ${error.cause.stack ?? error.cause}`)
      console.log(log.slice(-5).join('\n'))
    } finally {
      clearTimeout(limit)
    }
  }
  console.log(`live: ${chosen.length - failed} passed, ${failed} failed`)
  return failed === 0 && chosen.length > 0 ? 0 : 1
}

// The database.

export const secret = 'a secret of the tests that has more than thirty-two bytes'

let session

/** The superuser's session. */
export async function sql(text, parameters = []) {
  if (!session) {
    const made = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE })
    await made.connect()
    made.on('error', () => {
      session = undefined
    })
    session = made
    await prepare()
  }
  const { rows } = await session.query(text, parameters)
  return rows
}

/** The one value of a query. */
export async function value(text, parameters = []) {
  const [row] = await sql(text, parameters)
  return row && Object.values(row)[0]
}

let isPrepared = false

async function prepare() {
  if (isPrepared) return
  isPrepared = true
  await session.query(`
    CREATE EXTENSION IF NOT EXISTS pgflow;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    CREATE ROLE anon; CREATE ROLE member; CREATE ROLE crew; CREATE ROLE chief; CREATE ROLE stranger;
    GRANT anon, member, crew, chief TO authenticator;
    INSERT INTO pgflow.gateway_roles VALUES ('authenticator');
    SELECT pgflow.grant_access('member', 'client'), pgflow.grant_access('crew', 'worker'),
           pgflow.grant_access('chief', 'operator');

    -- Its steps are claimed and settled by the tests. The slugs are against the order of the deps.
    SELECT pgflow.define_flow('{"flow_slug": "chain", "base_delay": 0, "steps": [
      {"step_slug": "zeta", "max_attempts": 2},
      {"step_slug": "mid", "deps_slugs": ["zeta"], "step_type": "map"},
      {"step_slug": "alpha", "deps_slugs": ["mid"]}]}');
    SELECT pgflow.set_realtime('chain'), pgflow.grant_run('chain', 'member'), pgflow.grant_queue('chain', 'crew');
    SELECT pgflow.define_flow('{"flow_slug": "open", "steps": [
      {"step_slug": "one"}, {"step_slug": "two", "deps_slugs": ["one"]}]}');
    SELECT pgflow.set_realtime('open', private => false), pgflow.grant_run('open', 'member');
    -- Nobody publishes this one.
    SELECT pgflow.define_flow('{"flow_slug": "quiet", "steps": [{"step_slug": "only"}]}');
    SELECT pgflow.grant_run('quiet', 'member');
    -- The server does this one by itself.
    CREATE FUNCTION public.double(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(2 * (input -> 'run' ->> 'n')::int) $$;
    CREATE FUNCTION public.add_one(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1 + (input ->> 'double')::int) $$;
    SELECT pgflow.define_flow('{"flow_slug": "sums", "executor": "sql", "steps": [
      {"step_slug": "double", "executor": "sql", "target": "public.double"},
      {"step_slug": "add_one", "executor": "sql", "target": "public.add_one", "deps_slugs": ["double"]}]}'::jsonb - 'executor');
    SELECT pgflow.set_realtime('sums'), pgflow.grant_run('sums', 'member');
  `)
}

/** Claims and settles what is ready of a flow, each task as `act` says: an output, or `{ fail: message }`. */
export async function work(flow, act = () => 'done') {
  const tasks = await sql('SELECT * FROM pgflow.claim_step_tasks($1, 1000)', [flow])
  const results = tasks.map((task) => {
    const did = act(task)
    const key = { run_id: task.run_id, step_slug: task.step_slug, task_index: task.task_index, lease: Number(task.lease) }
    return did?.fail === undefined ? { ...key, output: did } : { ...key, error_message: did.fail, retryable: did.retryable }
  })
  await sql('SELECT FROM pgflow.settle_step_tasks($1)', [JSON.stringify(results)])
  return tasks.length
}

/** Works until nothing is ready. */
export async function workAll(flow, act) {
  while ((await work(flow, act)) > 0);
}

/** Ends the server without a checkpoint, and starts it again. */
export async function restartDatabase(between = async () => {}) {
  const cluster = process.env.PGFLOW_CLUSTER
  const control = (...words) => {
    const command = [`${cluster}/bin/pg_ctl`, '-s', '-w', '-D', `${cluster}/data`, '-l', `${cluster}/log`, ...words]
    if (process.getuid() === 0) command.unshift('runuser', '-u', process.env.PGFLOW_SERVER_USER, '--')
    execFileSync(command[0], command.slice(1), { stdio: 'ignore', cwd: '/' })
  }
  control('stop', '-m', 'immediate')
  session = undefined
  try {
    await between()
  } finally {
    control('start')
  }
}

// pgflow-live.

const servers = []
const log = []

/** Starts one with these options; what else is said is said by the environment. */
export async function serve(...options) {
  const database = `host=${process.env.PGHOST} user=authenticator dbname=${process.env.PGDATABASE}`
  await sql('SELECT 1')
  const child = spawn(process.env.PGFLOW_LIVE, ['--database', database, '--listen', '127.0.0.1:0', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  servers.push(child)
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  const url = await Promise.race([
    new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    ended.then(({ code }) => Promise.reject(new Error(`pgflow-live ended with ${code}: ${log.slice(-3).join(' ')}`))),
  ])
  await eventually(async () => (await (await fetch(`${url}/health`)).json()).listening)
  return { url, child, ended }
}

/** Megabytes of a process that are resident. */
export const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024

let common

/** The one that most tests share. */
export async function live() {
  common ??= serve('--jwt-secret', secret, '--anon-role', 'anon')
  return (await common).url
}

export async function finish() {
  for (const child of servers) child.kill('SIGKILL')
  await session?.end()
}

/** Waits until it is true, and returns what it is. */
export async function eventually(condition, seconds = 20) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const is = await condition()
    if (is) return is
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${condition}`)
    await sleep(20)
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

// Tokens.

const encode = (part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')

/** A token with these claims. */
export function sign(claims, key = secret, header = { alg: 'HS256', typ: 'JWT' }) {
  const signed = `${encode(header)}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
}

const soon = () => Math.floor(Date.now() / 1000) + 600

export const ann = () => sign({ role: 'member', sub: 'ann', exp: soon() })
export const bob = () => sign({ role: 'member', sub: 'bob', exp: soon() })
export const crew = () => sign({ role: 'crew', sub: 'worker-1', exp: soon() })
export const chief = () => sign({ role: 'chief', sub: 'root', exp: soon() })

// HTTP.

/** The status and the body of a response. */
export async function ask(path, { token, body, method, accept, base } = {}) {
  const response = await fetch(`${base ?? (await live())}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(accept && { accept }),
    },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers }
}

/** The run that this token starts. */
export async function start(token, flow = 'chain', payload = {}) {
  const { status, body } = await ask('/rpc/run_flow', { token, body: { flow_slug: flow, payload } })
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

/** A stream of server-sent events, once it has begun. */
export async function stream(run, token, { base, query = '' } = {}) {
  const controller = new AbortController()
  const response = await fetch(`${base ?? (await live())}/runs/${run}/events${query}`, {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    signal: controller.signal,
  })
  if (response.status !== 200) throw Object.assign(new Error(`status ${response.status}`), { status: response.status, body: await response.json() })
  const events = []
  const read = (async () => {
    let text = ''
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const lines = text.slice(0, end).split('\n')
        const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join('\n')
        if (field('event')) events.push({ event: field('event'), data: JSON.parse(field('data')) })
      }
    }
  })().catch((error) => error)
  return {
    events,
    /** What happened, in short. */
    told: () => events.filter(({ event }) => event === 'change').map(({ data }) => short(data)),
    until: (name, seconds) => eventually(() => events.find(({ event, data }) => event === name || short(data) === name), seconds),
    ended: read,
    close: () => controller.abort(),
  }
}

/** A message as the name of its event. */
export const short = ({ event_type, step_slug, status }) => (step_slug === undefined ? event_type : `step:${step_slug}:${status}`)

/** The status with which a stream is refused. */
export async function refusal(run, token, options) {
  try {
    const opened = await stream(run, token, options)
    opened.close()
    return 200
  } catch (error) {
    if (error.status) return error.status
    throw error
  }
}

export { assert }
