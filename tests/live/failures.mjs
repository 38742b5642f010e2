// What breaks, and what nobody misses because of it.
import { connect } from 'node:net'
import WebSocket from 'ws'
import {
  ann, ask, assert, bob, chief, eventually, live, restartDatabase, secret, serve, sign, sleep, sql, start, stream, test, value, workAll,
} from './harness.mjs'

const whole = ['step:zeta:completed', 'step:mid:started', 'step:mid:completed', 'step:alpha:started', 'step:alpha:completed', 'run:completed']

test('what happens while it does not listen is told when it does again', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  for (let i = 0; i < 3; i += 1) {
    await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgflow-live'`)
  }
  await workAll('chain', () => [1])
  await watch.until('run:completed')
  assert.deepEqual(watch.told(), whole)
  watch.close()
  await eventually(async () => (await ask('/health')).body.listening)
})

test('watchers stay while the database restarts, and miss nothing', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  const url = await live()
  await restartDatabase(async () => {
    const { status, body } = await ask('/runs', { token: ann() })
    assert.deepEqual([status, body.code], [503, 'PGRST001'])
    assert.equal((await (await fetch(`${url}/health`)).json()).listening, false)
  })
  await workAll('chain', () => [1])
  await watch.until('run:completed', 40)
  assert.deepEqual(watch.told(), whole)
  watch.close()
  await eventually(async () => (await ask('/health')).body.listening)
  assert.equal((await ask('/me', { token: ann() })).status, 200)
})

test('who begins to watch while the database is away is told so', async () => {
  const run = await start(ann())
  const token = ann()
  const watch = await stream(run, token)
  await restartDatabase(async () => {
    // The watch that there is goes on in silence, and who joins it is not to wait as long.
    const joined = stream(run, token).catch(({ status }) => status)
    assert.equal(await Promise.race([joined, sleep(60_000)]), 503)
  })
  await workAll('chain', () => [1])
  await watch.until('run:completed', 40)
  assert.deepEqual(watch.told(), whole)
  watch.close()
  await eventually(async () => (await ask('/health')).body.listening)
})

test('told to end, it ends at once, and its streams with it', async () => {
  const { url, child, ended } = await serve('--jwt-secret', secret)
  const run = await start(ann())
  const watch = await stream(run, ann(), { base: url })
  const began = Date.now()
  child.kill('SIGTERM')
  assert.deepEqual(await ended, { code: 0, signal: null })
  await watch.ended
  assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`)
  await workAll('chain')
})

test('it says what cannot be', async () => {
  await assert.rejects(serve('--jwt-secret', 'short'), /32 bytes/)
  await assert.rejects(serve('--jwks', '/no/such/file'), /no\/such\/file/)
})

/** A connection that has been answered and is kept; nothing if it is closed instead. */
const connected = (url) =>
  new Promise((resolve) => {
    const socket = connect(new URL(url).port, '127.0.0.1')
    socket.write('GET /me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
    socket.once('data', () => resolve(socket))
    socket.on('error', () => {})
    socket.once('close', () => resolve())
  })

test('there are not more connections than it may have', async () => {
  const { url, child, ended } = await serve('--jwt-secret', secret, '--max-connections', '3')
  // The one that has asked whether it listens is closed after a while.
  const sockets = []
  while (sockets.length < 3) sockets.push(await eventually(() => connected(url)))
  assert.equal(await connected(url), undefined)
  // One that is closed makes room, for a WebSocket too, which counts for as long as it is open.
  sockets[0].destroy()
  const open = () =>
    new Promise((resolve) => {
      const ws = new WebSocket(`${url.replace('http', 'ws')}/socket/websocket`)
      ws.once('open', () => resolve(ws)).on('error', () => resolve())
    })
  const ws = await eventually(open)
  assert.equal(await connected(url), undefined)
  assert.equal(await open(), undefined)
  ws.terminate()
  sockets[0] = await eventually(() => connected(url))
  sockets[1].destroy()
  const last = await eventually(open)
  const closed = new Promise((resolve) => last.once('close', resolve))
  assert.equal(await connected(url), undefined)
  // Connections that say nothing are not waited for at the end, and sockets are told.
  const began = Date.now()
  child.kill('SIGTERM')
  assert.deepEqual(await ended, { code: 0, signal: null })
  assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`)
  assert.equal(await closed, 1001)
})

test('there are not more watchers than it may have', async () => {
  const { url } = await serve('--jwt-secret', secret, '--max-watchers', '2')
  const run = await start(ann())
  const two = [await stream(run, ann(), { base: url }), await stream(run, chief(), { base: url })]
  await assert.rejects(stream(run, ann(), { base: url }), { status: 503 })
  two[0].close()
  await eventually(async () => (await ask('/health', { base: url })).body.watchers === 1)
  const third = await stream(run, ann(), { base: url })
  third.close()
  two[1].close()
  await workAll('chain')
})

test('there are not more watchers of one user than it may have', async () => {
  const { url } = await serve('--jwt-secret', secret, '--max-watchers', '20')
  const run = await start(ann())
  const begin = (token) => stream(run, token, { base: url })
  // A tenth, if nothing is said; of the same role and sub, whatever else the token says.
  const two = [await begin(ann()), await begin(sign({ role: 'member', sub: 'ann', n: 1 }))]
  await assert.rejects(begin(ann()), (error) => error.status === 503 && /of this user/.test(error.body.message))
  await assert.rejects(begin(sign({ role: 'member', sub: 'ann', n: 2 })), { status: 503 })
  // Others are not kept out: another sub, another role, and all who have none together.
  await assert.rejects(begin(bob()), { status: 404 })
  const others = [await begin(chief()), await begin(sign({ role: 'chief', sub: 'ann' })), await begin(sign({ role: 'chief' }))]
  others.push(await begin(sign({ role: 'chief', n: 1 })))
  await assert.rejects(begin(sign({ role: 'chief', n: 2 })), { status: 503 })
  // Who is refused is not counted, and who goes is not either.
  two[0].close()
  await eventually(async () => (await ask('/health', { base: url })).body.watchers === 5)
  two[0] = await begin(ann())
  for (const watch of [...two, ...others]) watch.close()
  await eventually(async () => (await ask('/health', { base: url })).body.watchers === 0)
  await workAll('chain')
})

test('notifications of others do no harm', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  for (const payload of ['', 'x', '[]', '{}', '[{"run_id": 1}]', `[{"flow_slug": "chain", "run_id": "${run}", "step_slug": "none"}]`, `[{"flow_slug": "x", "run_id": "${run}"}]`, '['.repeat(5000)]) {
    await sql(`SELECT pg_notify('pgflow_events', $1)`, [payload])
  }
  await workAll('chain', () => [1])
  await watch.until('run:completed')
  assert.deepEqual(watch.told(), whole)
  watch.close()
})

test('runs that change all at once are all told', async () => {
  const runs = await value(`SELECT array_agg(run_id) FROM pgflow.run_flows('chain', array_fill('{}'::jsonb, array[300])) run_id`)
  const token = chief()
  const watches = []
  for (const run of runs) watches.push(await stream(run, token))
  await workAll('chain', () => [1, 2, 3])
  for (const watch of watches) {
    await watch.until('run:completed', 40)
    assert.deepEqual(watch.told(), whole)
    watch.close()
  }
})
