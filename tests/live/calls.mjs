// Functions over HTTP, as PostgREST calls them, and the lists of the page.
import http from 'node:http'
import pg from 'pg'
import { ann, ask, assert, bob, chief, crew, eventually, live, memory, secret, serve, sign, start, test, value, workAll } from './harness.mjs'

/** A response to a request with these headers, which fetch would not send. */
const request = (url, headers) =>
  new Promise((resolve, reject) => http.get(url, { headers }, (response) => resolve(response.resume())).once('error', reject))

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

test('functions return what PostgREST returns for them', async () => {
  const run = await start(ann(), 'chain', { n: 1.10, text: 'ä' })
  assert.match(run, uuid)
  assert.equal(await value('SELECT payload::text FROM pgflow.runs WHERE run_id = $1', [run]), '{"n": 1.1, "text": "ä"}')
  const state = await ask(`/rpc/get_run?run_id=${run}`, { token: ann() })
  assert.equal(state.status, 200)
  assert.equal(state.body.run.run_id, run)
  assert.equal(state.body.run.created_for, 'ann')
  assert.equal(state.body.steps.length, 3)
  const claimed = await ask('/rpc/settle_and_claim', { token: crew(), body: { results: [], queue: 'chain', max_tasks: 1000 } })
  assert.equal(claimed.status, 200)
  const task = claimed.body.find(({ run_id }) => run_id === run)
  assert.equal(task.step_slug, 'zeta')
  assert.ok(Number.isSafeInteger(task.lease))
  const receipt = await ask('/rpc/complete_step_task', {
    token: crew(),
    body: { run_id: run, step_slug: 'zeta', output: [1], lease: task.lease },
  })
  assert.equal(receipt.status, 200)
  assert.equal(receipt.body.accepted, true)
  const cancelled = await ask('/rpc/cancel_run', { token: chief(), body: { run_id: run, reason: 'enough' } })
  assert.equal(cancelled.body.status, 'cancelled')
  const nothing = await ask('/rpc/pause_flow', { token: chief(), body: { flow_slug: 'chain' } })
  assert.deepEqual([nothing.status, nothing.body], [204, ''])
  await ask('/rpc/resume_flow', { token: chief(), body: { flow_slug: 'chain' } })
  const runs = await ask('/rpc/run_flows', { token: ann(), body: { flow_slug: 'quiet', payloads: [{ a: 1 }, { a: 2 }] } })
  assert.equal(runs.status, 200)
  assert.ok(runs.body.length === 2 && runs.body.every((id) => uuid.test(id)))
  const image = await ask(`/rpc/run_svg?run_id=${run}`, { token: ann(), accept: 'image/svg+xml' })
  assert.equal(image.headers.get('content-type'), 'image/svg+xml')
  assert.match(image.body, /^<svg /)
  assert.match(image.headers.get('content-security-policy'), /default-src 'none'/)
})

test('errors have the statuses and bodies of PostgREST', async () => {
  const cases = [
    ['/rpc/run_flow', { flow_slug: 'chain', payload: null }, 400, '22004'],
    ['/rpc/run_flow', { flow_slug: 'no_such' }, 404, 'PT404'],
    ['/rpc/run_flow', { flow_slug: 'chain', what: 1 }, 404, 'PGRST202'],
    ['/rpc/run_flow', { 'flow_slug"; select 1; --': 'x' }, 404, 'PGRST202'],
    ['/rpc/no_such', {}, 404, 'PGRST202'],
    ['/rpc/run_flow', {}, 404, '42883'],
    ['/rpc/run_flow', [{ flow_slug: 'chain' }], 400, 'PGRST102'],
    ['/rpc/run_flow', '{"flow_slug"', 400, 'PGRST102'],
    ['/rpc/get_run', { run_id: 'x' }, 400, '22P02'],
    ['/rpc/get_run', { run_id: '0198aaaa-0000-7000-8000-000000000000' }, 404, 'PT404'],
    ['/rpc/retry_run', { run_id: await start(chief(), 'quiet').catch(() => start(ann(), 'quiet')) }, 403, '42501'],
    ['/rpc/define_flow', { definition: {} }, 403, '42501'],
  ]
  for (const [path, body, status, code] of cases) {
    const answer = await ask(path, { token: ann(), body })
    assert.deepEqual([answer.status, answer.body.code], [status, code], `${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`)
    assert.deepEqual(Object.keys(answer.body), ['code', 'details', 'hint', 'message'])
  }
  const byGet = await ask('/rpc/run_flow?flow_slug=chain', { token: ann() })
  assert.equal(byGet.status, 405)
})

test('a call that a client gives up leaves nothing behind on its connection', async () => {
  // Each of the shared connections is used by many after this.
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const controller = new AbortController()
      setTimeout(() => controller.abort(), i % 5)
      await fetch(`${await live()}/rpc/prune_runs`, {
        method: 'POST',
        headers: { authorization: `Bearer ${chief()}`, 'content-type': 'application/json' },
        body: '{"older_than": "100 years"}',
        signal: controller.signal,
      }).catch(() => {})
    }),
  )
  for (let i = 0; i < 40; i += 1) {
    assert.equal((await ask('/me', { token: ann() })).body.role, 'member')
    assert.equal((await ask('/me')).status, 401)
  }
  const open = await value(`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'pgflow-live' AND state LIKE 'idle in%'`)
  assert.equal(open, 0)
})

test('requests that are given up hold nobody up', async () => {
  const run = await start(ann(), 'quiet')
  const locker = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE })
  await locker.connect()
  await locker.query('BEGIN')
  await locker.query('SELECT pgflow_locks.lock_run($1)', [run])
  const gone = Array.from({ length: 8 }, async () => {
    const request = fetch(`${await live()}/rpc/cancel_run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${chief()}` },
      body: JSON.stringify({ run_id: run }),
      signal: AbortSignal.timeout(300),
    })
    await assert.rejects(request, { name: 'TimeoutError' })
  })
  await Promise.all(gone)
  const began = Date.now()
  assert.equal((await ask('/me', { token: ann() })).status, 200)
  assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`)
  // What nobody waits for any more is not done later either.
  await eventually(async () => (await value(`SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%pgflow.cancel_run%' AND state = 'active' AND pid <> pg_backend_pid()`)) === 0)
  await locker.query('COMMIT')
  await locker.end()
  assert.equal(await value('SELECT status FROM pgflow.runs WHERE run_id = $1', [run]), 'started')
  await workAll('quiet')
})

test('a large body costs what it is', async () => {
  const { url, child } = await serve('--jwt-secret', secret, '--anon-role', 'anon')
  const before = memory(child.pid)
  const large = `{"payload": [${'[0],'.repeat(3_000_000)}0]}`
  assert.equal((await ask('/rpc/run_flow', { base: url, body: large })).status, 401)
  const grown = memory(child.pid) - before
  assert.ok(grown < 120, `${grown} MB more`)
  // Who sends too much, or may not ask, is not listened to: the connection may end before all is sent.
  const answer = (base, body) => ask('/rpc/run_flow', { base, body }).then(({ status }) => status, ({ cause }) => cause.code)
  assert.ok([413, 'EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET'].includes(await answer(url, ' '.repeat(17 << 20))))
  const strict = await serve('--jwt-secret', secret)
  const quiet = memory(strict.child.pid)
  assert.ok([401, 'EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET'].includes(await answer(strict.url, large)))
  assert.ok(memory(strict.child.pid) - quiet < 5)
})

test('without a token only the own page may ask, and those that are named', async () => {
  const { url } = await serve('--jwt-secret', secret, '--anon-role', 'member', '--anon-origin', 'https://app.example')
  const status = async (headers, path = '/runs') => (await request(`${url}${path}`, headers)).statusCode
  const own = new URL(url).host
  assert.equal(await status({}), 200)
  assert.equal(await status({ origin: url }), 200)
  assert.equal(await status({ origin: 'https://app.example' }), 200)
  assert.equal(await status({ origin: 'https://evil.example' }), 401)
  assert.equal(await status({ origin: 'null' }), 401)
  // A name of somebody's own that leads to this machine.
  assert.equal(await status({ host: 'evil.example', origin: 'http://evil.example' }), 401)
  assert.equal(await status({ host: `evil.example:${own.split(':')[1]}` }), 401)
  assert.equal(await status({ host: `localhost:${own.split(':')[1]}` }), 200)
  // A proxy on this machine passes on the name that it is known by.
  assert.equal(await status({ host: 'app.example', origin: 'https://app.example' }), 200)
  // A token is not brought along unasked.
  assert.equal(await status({ origin: 'https://evil.example', authorization: `Bearer ${ann()}` }), 200)
})

test('arguments in an address are texts of their types', async () => {
  const run = await start(ann(), 'quiet', { a: 1 })
  const { status, body } = await ask(`/rpc/flow_graph?flow_slug=quiet&version=1`, { token: ann() })
  assert.equal(status, 200, JSON.stringify(body))
  assert.equal((await ask(`/rpc/flow_graph?flow_slug=quiet&version=x`, { token: ann() })).body.code, '22P02')
  assert.equal((await ask(`/rpc/get_run?run_id=${run}`, { token: ann() })).body.run.payload.a, 1)
})

test('claims count for the one request only', async () => {
  const mine = await start(ann(), 'quiet')
  for (let i = 0; i < 20; i += 1) {
    assert.equal((await ask(`/rpc/get_run?run_id=${mine}`, { token: bob() })).status, 404)
    assert.equal((await ask(`/rpc/get_run?run_id=${mine}`, { token: ann() })).status, 200)
    assert.equal((await ask(`/rpc/get_run?run_id=${mine}`)).status, 401)
  }
  // What a request says beside its token says nothing.
  const response = await fetch(`${await live()}/rpc/get_run?run_id=${mine}`, {
    headers: { authorization: `Bearer ${bob()}`, 'request.jwt.claims': '{"sub":"ann"}', role: 'chief', 'x-role': 'chief' },
  })
  assert.equal(response.status, 404)
})

test('runs are listed for whom they are, the newest first', async () => {
  const mine = []
  for (let i = 0; i < 3; i += 1) mine.push(await start(sign({ role: 'member', sub: 'lister' }), 'quiet'))
  await start(bob(), 'quiet')
  const lister = sign({ role: 'member', sub: 'lister' })
  const list = async (query, token = lister) => (await ask(`/runs${query}`, { token })).body
  assert.deepEqual((await list('')).map(({ run_id }) => run_id), mine.toReversed())
  assert.deepEqual((await list('?limit=2')).map(({ run_id }) => run_id), [mine[2], mine[1]])
  assert.deepEqual((await list(`?before=${mine[1]}`)).map(({ run_id }) => run_id), [mine[0]])
  assert.deepEqual(await list('?status=completed'), [])
  assert.equal((await list('?flow_slug=quiet&status=started')).length, 3)
  assert.deepEqual(await list('?flow_slug=chain'), [])
  assert.deepEqual(await list('', crew()), [])
  assert.ok((await list('?limit=500', chief())).length >= 4)
  assert.equal((await ask('/runs?limit=501', { token: lister })).status, 400)
  assert.equal((await ask("/runs?before=x'", { token: lister })).status, 400)
  const flows = (await ask('/flows', { token: lister })).body
  assert.deepEqual(flows.map(({ flow_slug }) => flow_slug), ['chain', 'open', 'quiet', 'sums'])
  await workAll('quiet')
})

test('pages of other origins may ask, and no page is framed', async () => {
  const url = await live()
  const asked = await fetch(`${url}/rpc/run_flow`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,content-profile' },
  })
  assert.equal(asked.headers.get('access-control-allow-origin'), '*')
  assert.equal(asked.headers.get('access-control-allow-credentials'), null)
  const page = await fetch(`${url}/`)
  assert.equal(page.status, 200)
  assert.match(page.headers.get('content-security-policy'), /script-src 'self'.*frame-ancestors 'none'/)
  for (const path of ['/page/nothing.js', '/page/..%2f..%2fCargo.toml', '/page/../Cargo.toml', '/page/%00']) {
    assert.equal((await fetch(`${url}${path}`)).status, 404, path)
  }
})
