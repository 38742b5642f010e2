// Server-sent events: who may watch, and that everything is told, once and in order.
import pg from 'pg'
import {
  ann, ask, assert, bob, chief, crew, eventually, memory, refusal, secret, serve, short, sign, sleep, sql, start, stream, test, value, work,
  workAll,
} from './harness.mjs'

const whole = [
  'step:zeta:completed',
  'step:mid:started',
  'step:mid:completed',
  'step:alpha:started',
  'step:alpha:completed',
  'run:completed',
]

test('a run is told of from its state to its end', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  const state = await watch.until('state')
  assert.equal(state.data.run.run_id, run)
  assert.equal(state.data.run.status, 'started')
  await workAll('chain', ({ step_slug, input }) => (step_slug === 'zeta' ? ['a', 'b'] : step_slug === 'mid' ? input.item.toUpperCase() : input.mid))
  await watch.until('run:completed')
  assert.deepEqual(watch.told(), whole)
  const end = watch.events.at(-1).data
  assert.deepEqual(end.output, { alpha: ['A', 'B'] })
  assert.equal(end.flow_slug, 'chain')
  assert.ok(end.finished_at >= end.started_at)
  watch.close()
})

test('messages are those that the database itself sends', async () => {
  const listener = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE })
  await listener.connect()
  const heard = []
  listener.on('notification', ({ payload }) => heard.push(...JSON.parse(payload)))
  await listener.query('LISTEN pgflow_events')
  await listener.query('SELECT FROM pg_advisory_lock_shared(pgflow_locks.events_key())')
  try {
    const run = await start(ann(), 'open', { a: 1 })
    const watch = await stream(run, ann())
    await work('open', () => ({ deep: [1.50, null, { 'ä"': '\u2028' }] }))
    await work('open', () => ({ fail: 'it is "broken"\n', retryable: false }))
    await watch.until('run:failed')
    const own = await eventually(() => {
      const own = heard.filter(({ run_id }) => run_id === run)
      return own.some(({ event_type }) => event_type === 'run:failed') && own
    })
    // What had happened before it watched is in the state.
    const later = own.filter(({ event_type, step_slug }) => event_type !== 'run:started' && !(event_type === 'step:started' && step_slug === 'one'))
    assert.deepEqual(watch.events.filter(({ event }) => event === 'change').map(({ data }) => data), later)
    watch.close()
  } finally {
    await listener.end()
  }
})

test('only who may see a run may watch it', async () => {
  const run = await start(ann())
  assert.equal(await refusal(run, ann()), 200)
  assert.equal(await refusal(run, chief()), 200)
  assert.equal(await refusal(run, bob()), 404)
  // Of the same role, without a sub and with a strange one.
  assert.equal(await refusal(run, sign({ role: 'member' })), 404)
  assert.equal(await refusal(run, sign({ role: 'member', sub: ['ann'] })), 401)
  assert.equal(await refusal(run, sign({ role: 'member', sub: 'ANN' })), 404)
  // A worker serves the queue of its steps, and does not see the run.
  assert.equal(await refusal(run, crew()), 404)
  assert.equal(await refusal(run, undefined), 401)
  assert.equal(await refusal(run, undefined, { query: `?access_token=${bob()}` }), 404)
  assert.equal(await refusal(run, undefined, { query: `?access_token=${ann()}` }), 200)
  assert.equal(await refusal(run, undefined, { query: '?access_token=x' }), 401)
  assert.equal(await refusal('0198aaaa-0000-7000-8000-000000000000', ann()), 404)
  assert.equal(await refusal('no-run', ann()), 404)
  // A flow whose topics are public is no different: here the tables decide.
  const open = await start(ann(), 'open')
  assert.equal(await refusal(open, undefined), 401)
  assert.equal(await refusal(open, bob()), 404)
  await workAll('chain')
  await workAll('open')
})

test('what a run of a flow returns that nobody publishes is told too', async () => {
  const run = await start(ann(), 'quiet')
  const watch = await stream(run, ann())
  await work('quiet', () => 42)
  await watch.until('run:completed')
  assert.deepEqual(watch.told(), ['step:only:completed', 'run:completed'])
  assert.equal(watch.events.at(-2).data.output, 42)
  watch.close()
})

test('a run that begins later is told of when it begins', async () => {
  const run = await value(`SELECT pgflow.run_flow('chain', start_at => now() + interval '1 second')`)
  const watch = await stream(run, chief())
  assert.equal((await watch.until('state')).data.run.status, 'pending')
  await eventually(async () => {
    await work('chain', () => [])
    return watch.told().includes('step:mid:completed')
  })
  await workAll('chain')
  await watch.until('run:completed')
  // The map has nothing to do: it is over without having started.
  assert.deepEqual(watch.told().slice(0, 4), ['run:started', 'step:zeta:started', 'step:zeta:completed', 'step:mid:completed'])
  watch.close()
})

test('failure, retry and cancellation are told', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  await workAll('chain', () => ({ fail: 'no', retryable: false }))
  await watch.until('run:failed')
  assert.equal(watch.events.at(-1).data.error_message, 'no')
  await sql('SELECT pgflow.retry_run($1)', [run])
  await watch.until('run:started')
  await work('chain', () => [1])
  await watch.until('step:mid:started')
  await ask('/rpc/cancel_run', { token: chief(), body: { run_id: run, reason: 'enough' } })
  await watch.until('run:cancelled')
  assert.deepEqual(watch.told(), [
    'step:zeta:failed',
    'step:mid:cancelled',
    'step:alpha:cancelled',
    'run:failed',
    'run:started',
    'step:zeta:started',
    'step:zeta:completed',
    'step:mid:started',
    'step:mid:cancelled',
    'step:alpha:cancelled',
    'run:cancelled',
  ])
  watch.close()
})

test('a large output is to be fetched', async () => {
  const run = await start(ann(), 'open')
  const watch = await stream(run, ann())
  await work('open', () => 'x'.repeat(70_000))
  await watch.until('step:one:completed')
  const [{ data }] = watch.events.filter(({ data }) => short(data) === 'step:one:completed')
  assert.deepEqual([data.fetch, data.output], [true, undefined])
  watch.close()
  await workAll('open')
})

test('a stream ends when its token does', async () => {
  const run = await start(ann())
  const watch = await stream(run, sign({ role: 'member', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 2 }))
  await watch.until('expired', 5)
  await watch.ended
  await workAll('chain')
})

test('who may not see a run any more is told nothing more of it', async () => {
  await sql(`CREATE ROLE guest; GRANT guest TO authenticator; SELECT pgflow.grant_access('guest', 'operator')`)
  const run = await start(ann())
  const guest = sign({ role: 'guest' })
  const watch = await stream(run, guest)
  await work('chain', () => [])
  await watch.until('step:zeta:completed')
  await sql(`SELECT pgflow.revoke_access('guest', 'operator')`)
  await workAll('chain')
  await watch.until('gone')
  assert.ok(!watch.told().includes('run:completed'))
  await watch.ended
  assert.equal(await refusal(run, guest), 403)
})

test('a run that is deleted ends its streams', async () => {
  await sql(`SELECT pgflow.create_flow('brief'), pgflow.add_step('brief', 'only')`)
  const run = await value(`SELECT pgflow.run_flow('brief')`)
  const watch = await stream(run, chief())
  await sql(`SELECT pgflow.delete_flow('brief', with_runs => true)`)
  await watch.until('gone')
  await watch.ended
})

test('many watch one run, and those of one token ask once', async () => {
  const run = await start(ann())
  const token = ann()
  const before = (await ask('/health')).body
  const watches = await Promise.all(Array.from({ length: 200 }, () => stream(run, token)))
  const { body } = await ask('/health')
  assert.ok(body.watchers >= before.watchers + 200 && body.watches <= before.watches + 1, JSON.stringify(body))
  await workAll('chain', () => [1, 2])
  await Promise.all(watches.map((watch) => watch.until('run:completed')))
  for (const watch of watches) {
    assert.deepEqual(watch.told(), whole)
    watch.close()
  }
  await eventually(async () => (await ask('/health')).body.watchers <= before.watchers)
  assert.ok((await ask('/health')).body.watches <= before.watches)
})

test('a watcher that does not read costs little, and is told all in the end', async () => {
  const steps = Array.from({ length: 60 }, (_, i) => ({ step_slug: `s${i}` }))
  await sql('SELECT FROM pgflow.define_flow($1)', [JSON.stringify({ flow_slug: 'wide', steps })])
  await sql(`SELECT pgflow.set_realtime('wide')`)
  const run = await value(`SELECT pgflow.run_flow('wide')`)
  const { url, child } = await serve('--jwt-secret', secret)
  const token = chief()
  const open = () => fetch(`${url}/runs/${run}/events`, { headers: { authorization: `Bearer ${token}` } })
  const responses = await Promise.all(Array.from({ length: 30 }, open))
  const before = memory(child.pid)
  // 1.8 MB for each of them, which their connections do not hold.
  await workAll('wide', () => 'x'.repeat(30_000))
  await sleep(1000)
  const grown = memory(child.pid) - before
  assert.ok(grown < 30, `${grown} MB more`)
  const reader = responses[0].body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('"run:completed"')) text += (await reader.read()).value
  assert.equal(text.split('"step:completed"').length - 1, 60)
  for (const response of responses.slice(1)) await response.body.cancel()
  await reader.cancel()
  await eventually(async () => (await ask('/health', { base: url })).body.watchers === 0)
})

test('who has a token and sees no definition is told in order', async () => {
  const run = await start(ann())
  const watch = await stream(run, ann())
  await sql(`SELECT pgflow.revoke_run('chain', 'member')`)
  try {
    await workAll('chain', () => [1])
    await watch.until('run:completed')
    assert.deepEqual(watch.told(), whole)
  } finally {
    await sql(`SELECT pgflow.grant_run('chain', 'member')`)
  }
  watch.close()
})

test('steps that ended before their run began are told whole', async () => {
  await sql(`SELECT FROM pgflow.define_flow('{"flow_slug": "early", "steps": [
    {"step_slug": "asks", "executor": "external"}, {"step_slug": "not", "required_input_pattern": {"x": 1}},
    {"step_slug": "later", "deps_slugs": ["asks"]}]}')`)
  await sql(`SELECT pgflow.set_realtime('early')`)
  const run = await value(`SELECT pgflow.run_flow('early', start_at => now() + interval '1 hour')`)
  const watch = await stream(run, chief())
  assert.equal((await watch.until('state')).data.run.status, 'pending')
  await sql(`SELECT FROM pgflow.complete_step($1, 'asks', '{"by": "me"}')`, [run])
  await watch.until('step:later:started')
  const told = Object.fromEntries(watch.events.slice(1).map(({ data }) => [short(data), data]))
  assert.deepEqual(told['step:asks:completed'].output, { by: 'me' })
  assert.equal(told['step:not:skipped'].skip_reason, 'condition_unmet')
  assert.equal(watch.told()[0], 'run:started')
  watch.close()
})

test('bells that somebody else rings hide nothing', async () => {
  const run = await start(ann(), 'quiet')
  const watch = await stream(run, ann())
  const ringing = setInterval(() => {
    sql(`SELECT pg_notify('pgflow_events', $1)`, [JSON.stringify([{ flow_slug: 'none', run_id: run, step_slug: 'none' }])])
  }, 300)
  try {
    await workAll('quiet')
    await watch.until('run:completed', 5)
  } finally {
    clearInterval(ringing)
  }
  watch.close()
})

test('bells that are rung faster than it looks hide nothing of a large run', async () => {
  const steps = Array.from({ length: 250 }, (_, i) => ({ step_slug: `s${i}` }))
  await sql('SELECT FROM pgflow.define_flow($1)', [JSON.stringify({ flow_slug: 'crowd', steps })])
  const run = await value(`SELECT pgflow.run_flow('crowd')`)
  const watch = await stream(run, chief())
  let isRinging = true
  const repeat = async (text) => {
    const client = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE })
    await client.connect()
    while (isRinging) await client.query(text)
    await client.end()
  }
  // A look takes a while, and meanwhile there is always another bell, for a step that has not moved.
  const bell = JSON.stringify([{ flow_slug: 'none', run_id: run, step_slug: 'none' }])
  const ring = `SELECT pg_notify('pgflow_events', '${bell}')`
  const delay = 'BEGIN; LOCK TABLE pgflow.runs; SELECT pg_sleep(0.1); COMMIT'
  const ringing = Promise.all([ring, ring, ring, ring, delay].map(repeat))
  try {
    // One step, of which the run itself does not tell.
    const [{ run_id, step_slug, task_index, lease }] = await sql(`SELECT * FROM pgflow.claim_step_tasks('crowd', 1)`)
    const result = { run_id, step_slug, task_index, lease: Number(lease), output: 1 }
    await sql('SELECT FROM pgflow.settle_step_tasks($1)', [JSON.stringify([result])])
    await watch.until(`step:${step_slug}:completed`, 40)
  } finally {
    isRinging = false
    await ringing
    await sql('SELECT pgflow.cancel_run($1)', [run])
  }
  watch.close()
})
