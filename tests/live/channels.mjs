// Phoenix channels: raw frames of both versions, and the client of Supabase.
import { RealtimeClient } from '@supabase/realtime-js'
import pg from 'pg'
import WebSocket from 'ws'
import { ann, assert, bob, chief, crew, eventually, live, secret, serve, short, sign, sleep, start, stream, test, value, work, workAll } from './harness.mjs'

/** A socket that speaks frames; those that came are in `frames`. */
async function socket(version, { path = '/socket/websocket', key, base } = {}) {
  const url = `${(base ?? (await live())).replace('http', 'ws')}${path}?vsn=${version}${key ? `&apikey=${key}` : ''}`
  const ws = new WebSocket(url)
  const frames = []
  ws.on('message', (data, isBinary) => {
    if (isBinary) {
      const [kind, topic, event, meta, encoding] = data
      assert.deepEqual([kind, meta, encoding], [4, 0, 1])
      const text = data.subarray(5).toString()
      assert.equal(Buffer.byteLength(text), data.length - 5)
      const bytes = data.subarray(5)
      const payload = JSON.parse(bytes.subarray(topic + event).toString())
      frames.push({ topic: bytes.subarray(0, topic).toString(), event: 'broadcast', payload: { event: bytes.subarray(topic, topic + event).toString(), payload } })
      return
    }
    const frame = JSON.parse(data.toString())
    if (version === '1.0.0') frames.push(frame)
    else frames.push(Object.fromEntries(['join_ref', 'ref', 'topic', 'event', 'payload'].map((name, i) => [name, frame[i]])))
  })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  let refs = 0
  const send = (topic, event, payload, join_ref) => {
    const ref = String((refs += 1))
    const frame = { join_ref: join_ref ?? (event === 'phx_join' ? ref : null), ref, topic, event, payload }
    ws.send(JSON.stringify(version === '1.0.0' ? frame : Object.values(frame)))
    return ref
  }
  /** Sends, and waits for the reply. */
  const ask = async (...words) => {
    const ref = send(...words)
    const { payload } = await eventually(() => frames.find((frame) => frame.event === 'phx_reply' && frame.ref === ref))
    return payload
  }
  const join = (run, token) =>
    ask(`realtime:pgflow:run:${run}`, 'phx_join', { config: { private: true, postgres_changes: [] }, ...(token && { access_token: token }) })
  const told = () => frames.filter(({ event }) => event === 'broadcast').map(({ payload }) => payload.event)
  return { ws, frames, send, ask, join, told, close: () => ws.terminate() }
}

for (const version of ['1.0.0', '2.0.0']) {
  test(`version ${version} of the protocol tells what happens in a run`, async () => {
    const run = await start(ann())
    const { frames, ask, join, told, close } = await socket(version)
    assert.deepEqual(await ask('phoenix', 'heartbeat', {}), { status: 'ok', response: {} })
    assert.deepEqual(await join(run, ann()), { status: 'ok', response: { postgres_changes: [] } })
    await workAll('chain', () => ['ä'])
    await eventually(() => told().includes('run:completed'))
    assert.deepEqual(told(), ['step:zeta:completed', 'step:mid:started', 'step:mid:completed', 'step:alpha:started', 'step:alpha:completed', 'run:completed'])
    const first = frames.find(({ event }) => event === 'broadcast')
    assert.equal(first.topic, `realtime:pgflow:run:${run}`)
    assert.deepEqual(first.payload.payload.output, ['ä'])
    assert.deepEqual(await ask(`realtime:pgflow:run:${run}`, 'phx_leave', {}), { status: 'ok', response: {} })
    close()
  })
}

test('another version of the protocol is refused', async () => {
  await assert.rejects(socket('3.0.0'), /400/)
})

test('a channel is joined by who may see the run, and by nobody else', async () => {
  const run = await start(ann())
  const { join, ask, close } = await socket('2.0.0')
  const reason = async (...words) => {
    const { status, response } = await join(...words)
    return status === 'ok' ? 'ok' : response.reason
  }
  assert.equal(await reason(run, ann()), 'ok')
  assert.match(await reason(run, bob()), /run not found/)
  assert.match(await reason(run, crew()), /run not found/)
  assert.match(await reason(run, sign({ role: 'chief' }, 'another secret of more than thirty-two bytes!!')), /not good/)
  assert.match(await reason(run), /permission denied/)
  assert.match(await reason('x', ann()), /no run id/)
  const other = await ask('realtime:room:1', 'phx_join', { config: {}, access_token: ann() })
  assert.match(other.response.reason, /only topics/)
  const rows = await ask(`realtime:pgflow:run:${run}`, 'phx_join', { config: { postgres_changes: [{ event: '*', schema: 'pgflow' }] }, access_token: chief() })
  assert.match(rows.response.reason, /postgres_changes/)
  close()
  // The key of the URL counts where a join has none; one that is no token is nobody's.
  const keyed = await socket('2.0.0', { key: ann() })
  assert.equal((await keyed.join(run)).status, 'ok')
  keyed.close()
  const published = await socket('2.0.0', { key: 'sb_publishable_x', path: '/realtime/v1/websocket' })
  assert.equal((await published.join(run)).status, 'error')
  assert.equal((await published.join(run, ann())).status, 'ok')
  published.close()
  await workAll('chain')
})

test('what clients send reaches nobody', async () => {
  const run = await start(ann())
  const [one, two] = [await socket('2.0.0'), await socket('1.0.0')]
  await one.join(run, ann())
  await two.join(run, ann())
  const topic = `realtime:pgflow:run:${run}`
  const answer = await one.ask(topic, 'broadcast', { type: 'broadcast', event: 'run:completed', payload: { forged: true } })
  assert.equal(answer.status, 'error')
  assert.equal((await two.ask(topic, 'presence', { event: 'track' })).status, 'error')
  assert.equal((await two.ask(topic, 'anything', {})).status, 'error')
  one.ws.send(Buffer.from([3, 1, 1, topic.length, 3, 0, 1]))
  for (const rubbish of ['', '{', '[]', '[1,2,3,4,5]', 'null', '"x"', '['.repeat(5000), JSON.stringify([null, null, topic, 'phx_join', 'x'])]) {
    one.ws.send(rubbish)
    two.ws.send(rubbish)
  }
  assert.equal((await one.ask('phoenix', 'heartbeat', {})).status, 'ok')
  assert.equal((await two.ask('phoenix', 'heartbeat', {})).status, 'ok')
  assert.deepEqual([one.told(), two.told()], [[], []])
  one.close()
  two.close()
  await workAll('chain')
})

test('a frame that is too large ends the connection', async () => {
  const { ws } = await socket('2.0.0')
  const closed = new Promise((resolve) => ws.once('close', resolve))
  ws.on('error', () => {})
  ws.send('x'.repeat(70_000))
  await closed
})

test('one connection watches a hundred runs', async () => {
  const runs = await value(`SELECT array_agg(run_id) FROM pgflow.run_flows('quiet', array_fill('{}'::jsonb, array[101])) run_id`)
  const { join, told, close } = await socket('2.0.0')
  for (const run of runs.slice(0, 100)) assert.equal((await join(run, chief())).status, 'ok')
  assert.match((await join(runs[100], chief())).response.reason, /100 runs/)
  assert.equal((await join(runs[0], chief())).status, 'ok')
  await workAll('quiet')
  await eventually(() => told().length === 200)
  close()
})

test('a channel ends when its token does, and goes on with a new one', async () => {
  const run = await start(ann())
  const brief = () => sign({ role: 'member', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 2 })
  const ends = await socket('2.0.0')
  await ends.join(run, brief())
  await eventually(() => ends.frames.some(({ event }) => event === 'phx_close'))
  assert.match(ends.frames.find(({ event }) => event === 'system').payload.message, /token/)
  ends.close()

  const renewed = await socket('2.0.0')
  await renewed.join(run, brief())
  const topic = `realtime:pgflow:run:${run}`
  renewed.send(topic, 'access_token', { access_token: ann() }, '1')
  await sleep(2500)
  assert.ok(!renewed.frames.some(({ event }) => event === 'phx_close'))
  // A channel that has ended counts no more, and a token does not bring it back.
  assert.equal((await renewed.ask(topic, 'phx_leave', {}, '1')).status, 'ok')
  await renewed.join(run, ann())
  // A token of somebody else ends it.
  renewed.send(topic, 'access_token', { access_token: bob() }, '1')
  await eventually(() => renewed.frames.some(({ event }) => event === 'phx_close'))
  await workAll('chain')
  await sleep(100)
  assert.deepEqual(renewed.told(), [])
  renewed.close()
})

test('a new token takes no further place of its user', async () => {
  const { url } = await serve('--jwt-secret', secret, '--max-watchers-per-user', '1')
  const run = await start(ann())
  const { frames, join, send, told, close } = await socket('2.0.0', { base: url })
  assert.equal((await join(run, sign({ role: 'member', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 3 }))).status, 'ok')
  send(`realtime:pgflow:run:${run}`, 'access_token', { access_token: ann() }, '1')
  await sleep(3500)
  assert.ok(!frames.some(({ event }) => event === 'phx_close'))
  await workAll('chain', () => [1])
  await eventually(() => told().includes('run:completed'))
  await assert.rejects(stream(run, ann(), { base: url }), { status: 503 })
  close()
})

test('nothing else on a connection waits for a join', async () => {
  const [slow, other] = [await start(ann()), await start(ann(), 'quiet')]
  const { frames, send, ask, join, told, close } = await socket('2.0.0')
  const topic = `realtime:pgflow:run:${slow}`
  const replies = (ref) => frames.filter((frame) => frame.event === 'phx_reply' && frame.ref === ref)
  const begin = (token) => send(topic, 'phx_join', { config: {}, access_token: token })
  assert.equal((await join(other, ann())).status, 'ok')
  const locker = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE })
  await locker.connect()
  await locker.query('BEGIN; LOCK TABLE pgflow.runs IN ACCESS EXCLUSIVE MODE')
  try {
    // As many times as it takes until no turn is left: who comes and goes does not free it.
    const joins = []
    for (let i = 0; i < 6; i += 1) joins.push(begin(ann()))
    assert.equal((await ask('phoenix', 'heartbeat', {})).status, 'ok')
    assert.equal((await ask(`realtime:pgflow:run:${other}`, 'phx_leave', {})).status, 'ok')
    assert.equal((await ask(topic, 'phx_leave', {})).status, 'ok')
    // The last join is the one that counts, with the last token.
    joins.push(begin(bob()))
    const last = begin(ann())
    assert.equal((await ask('phoenix', 'heartbeat', {})).status, 'ok')
    assert.deepEqual([...joins, last].flatMap(replies), [])
    await locker.query('COMMIT')
    await eventually(() => replies(last).length > 0)
    assert.equal(replies(last)[0].payload.status, 'ok')
    assert.deepEqual(joins.flatMap(replies), [])
  } finally {
    await locker.end()
  }
  await workAll('quiet')
  await workAll('chain', () => [1])
  await eventually(() => told().includes('run:completed'))
  // Once, and nothing of the run that was left.
  assert.equal(told().filter((event) => event === 'run:completed').length, 1)
  assert.ok(!told().some((event) => event.startsWith('step:only')))
  close()
})

test('a token that comes during a join is the one that counts', async () => {
  const run = await start(ann())
  const { frames, send, close } = await socket('2.0.0')
  const topic = `realtime:pgflow:run:${run}`
  send(topic, 'phx_join', { config: {}, access_token: ann() })
  send(topic, 'access_token', { access_token: bob() }, '1')
  // Of somebody else: the join is refused, or the channel ends.
  const reason = ({ event, payload }) => (event === 'system' ? payload.message : payload.response?.reason)
  await eventually(() => frames.some((frame) => reason(frame) === 'run not found'))
  close()
  await workAll('chain')
})

test('what happens while a token is renewed is told once', async () => {
  for (let i = 0; i < 20; i += 1) {
    const flow = i % 2 ? 'quiet' : 'open'
    const run = await start(ann(), flow)
    const { join, send, told, close } = await socket('2.0.0')
    await join(run, ann())
    const topic = `realtime:pgflow:run:${run}`
    const renew = () => send(topic, 'access_token', { access_token: sign({ role: 'member', sub: 'ann', n: Math.random() }) }, '1')
    // The database changes, and the token with it.
    const working = workAll(flow)
    renew()
    await working
    renew()
    await eventually(() => told().includes('run:completed'))
    assert.deepEqual(
      told(),
      flow === 'quiet'
        ? ['step:only:completed', 'run:completed']
        : ['step:one:completed', 'step:two:started', 'step:two:completed', 'run:completed'],
    )
    close()
  }
})

/** A client of Supabase, and what it was told. */
async function client(token, options = {}) {
  const realtime = new RealtimeClient(`${(await live()).replace('http', 'ws')}/realtime/v1`, {
    transport: WebSocket,
    params: { apikey: 'sb_publishable_key' },
    accessToken: async () => token,
    ...options,
  })
  // Channels that are joined before have no token.
  await realtime.setAuth()
  return realtime
}

const subscribe = (channel) =>
  new Promise((resolve, reject) => {
    channel.subscribe((status, error) => (status === 'SUBSCRIBED' ? resolve() : reject(Object.assign(error ?? new Error(status), { status }))))
  })

test('the client of Supabase is told the same as a stream', async () => {
  for (const vsn of ['1.0.0', '2.0.0']) {
    const run = await start(ann(), 'open')
    const realtime = await client(ann(), { vsn })
    const heard = []
    const channel = realtime.channel(`pgflow:run:${run}`, { config: { private: true } })
    channel.on('broadcast', { event: '*' }, ({ event, payload }) => heard.push({ event, payload }))
    await subscribe(channel)
    const watch = await stream(run, ann())
    await work('open', () => ({ a: [1, null] }))
    await work('open', () => 2)
    await watch.until('run:completed')
    await eventually(() => heard.some(({ event }) => event === 'run:completed'))
    assert.deepEqual(heard.map(({ payload }) => payload), watch.events.filter(({ event }) => event === 'change').map(({ data }) => data))
    assert.deepEqual(heard.map(({ event }) => event), heard.map(({ payload }) => short(payload)))
    watch.close()
    assert.equal(await realtime.removeChannel(channel), 'ok')
    await realtime.disconnect()
  }
})

test('the client of Supabase is told when it may not watch', async () => {
  const run = await start(ann())
  for (const token of [bob(), crew(), 'sb_publishable_key']) {
    const realtime = await client(token)
    const refused = subscribe(realtime.channel(`pgflow:run:${run}`, { config: { private: true } }))
    await assert.rejects(refused, { status: 'CHANNEL_ERROR', message: token.includes('.') ? 'run not found' : /denied/ })
    await realtime.disconnect()
  }
  await workAll('chain')
})
