#!/usr/bin/env node
// pgflow with a worker in Node.js that does nothing but call the functions: what a client costs that is written as the
// peers' are. The workloads are named by how many tasks a call settles and claims.
import { connections, inFlight, main, sleep } from './bench.mjs'
import { readFile } from 'node:fs/promises'
import pg from 'pg'

pg.types.setTypeParser(pg.types.builtins.INT8, Number) // leases are below 2^53

const columns = 'run_id, step_slug, task_index, input, lease'
const claim = {
  name: 'claim', text: `SELECT ${columns} FROM pgflow.claim_step_tasks($1, $2)`,
}
// The commit of this claim waits for no disk: one that is lost in a crash is a task that is claimed again. The setting
// is that of the transaction, which is this statement.
const claimLazily = {
  name: 'claim lazily',
  text: `SELECT ${columns} FROM set_config('synchronous_commit', 'off', true), pgflow.claim_step_tasks($1, $2)`,
}
const complete = {
  name: 'complete', text: 'SELECT accepted FROM pgflow.complete_step_task($1, $2, $3, $4, $5)',
}
const settle = {
  name: 'settle', text: 'SELECT accepted FROM pgflow.settle_step_tasks($1)',
}
const settleAndClaim = {
  name: 'settle_and_claim', text: `SELECT ${columns} FROM pgflow.settle_and_claim($1, $2, $3)`,
}
const runFlow = { name: 'run_flow', text: `SELECT pgflow.run_flow('chain', $1)` }
const runFlows = { name: 'run_flows', text: `SELECT pgflow.run_flows('chain', $1)` }

// The work itself is nothing.
const handle = ({ run_id, step_slug, task_index, lease }) => ({ run_id, step_slug, task_index, lease, output: 1 })

const oneByOne = (claim) => async (client, queue, batch, left) => {
  while (left.tasks > 0) {
    const { rows: [task] } = await client.query({ ...claim, values: [queue, 1] })
    if (!task) {
      await sleep(1)
      continue
    }
    const { run_id, step_slug, task_index, lease, output } = handle(task)
    const { rows } = await client.query({ ...complete, values: [run_id, step_slug, output, task_index, lease] })
    left.tasks -= rows[0].accepted
  }
}

async function claimThenSettle(client, queue, batch, left) {
  while (left.tasks > 0) {
    const { rows: tasks } = await client.query({ ...claim, values: [queue, batch] })
    if (!tasks.length) {
      await sleep(1)
      continue
    }
    const { rows } = await client.query({ ...settle, values: [JSON.stringify(tasks.map(handle))] })
    left.tasks -= rows.filter((receipt) => receipt.accepted).length
  }
}

async function settleAndClaimInOne(client, queue, batch, left) {
  let tasks = []
  while (left.tasks > 0) {
    const results = tasks.map(handle)
    const claimed = await client.query({ ...settleAndClaim, values: [JSON.stringify(results), queue, batch] })
    left.tasks -= results.length
    tasks = claimed.rows
    if (!tasks.length && !results.length) await sleep(1)
  }
}

const integrity = ['SELECT count(*) FROM pgflow.check_integrity()', [0]]

const done = (runs, tasks) => [
  [`SELECT (SELECT count(*) FROM pgflow.runs WHERE status = 'completed'),
           (SELECT count(*) FROM pgflow.step_tasks WHERE status = 'completed'),
           (SELECT count(*) FROM pgflow.step_tasks), (SELECT count(*) FROM pgflow.live_tasks)`, [runs, tasks, tasks, 0]],
  integrity,
]

const work = (flow, steps, loop, batch, clients) => (runs, admin) => {
  let lines
  const left = { tasks: runs * steps }
  return {
    units: 'steps', total: left.tasks,
    enqueue: () => admin.query(
      `SELECT count(*) FROM pgflow.run_flows($1, ARRAY(SELECT jsonb_build_object('n', n) FROM generate_series(1, $2) n))`,
      [flow, runs]),
    connect: async () => { lines = await connections(clients) },
    work: () => Promise.all(lines.map((client) => loop(client, flow, batch, left))),
    close: () => Promise.all(lines.map((client) => client.end())),
    check: done(runs, runs * steps),
  }
}

// A map over elements of 1 kB that do not compress to nothing, and the step that gets all its outputs.
const map = (elements, admin) => ({
  ...work('map', elements + 1, settleAndClaimInOne, 50, 4)(1, admin),
  enqueue: () => admin.query(
    `SELECT pgflow.run_flow('map', (SELECT jsonb_agg(jsonb_build_object('n', n, 'text',
       (SELECT string_agg(md5((n * 31 + m)::text), '') FROM generate_series(1, 31) m))) FROM generate_series(1, $1) n))`,
    [elements]),
})

const start = (limit, perCall, query, values) => (runs) => {
  let lines
  return {
    units: 'runs', total: runs,
    connect: async () => { lines = await connections(limit) },
    work: () => inFlight(limit, runs / perCall, async (n) => {
      const client = lines.pop()
      await client.query({ ...query, values: [values(n)] })
      lines.push(client)
    }),
    close: () => Promise.all(lines.map((client) => client.end())),
    check: [
      [`SELECT (SELECT count(*) FROM pgflow.runs WHERE status = 'started'), (SELECT count(*) FROM pgflow.step_states),
               (SELECT count(*) FROM pgflow.live_tasks WHERE status = 'ready')`, [runs, runs * 3, runs]],
      integrity,
    ],
  }
}

await main('pgflow', async (admin) => {
  await admin.query('CREATE EXTENSION pgflow')
  await admin.query(await readFile(new URL('flows.sql', import.meta.url), 'utf8'))
}, {
  'chain-1': work('chain', 3, oneByOne(claim), 1, 20),
  'chain-1-lazy': work('chain', 3, oneByOne(claimLazily), 1, 20),
  'chain-10': work('chain', 3, settleAndClaimInOne, 10, 8),
  'chain-10-apart': work('chain', 3, claimThenSettle, 10, 8),
  'chain-100': work('chain', 3, settleAndClaimInOne, 100, 4),
  'diamond-50': work('diamond', 4, settleAndClaimInOne, 50, 4),
  'map-50': map,
  'start-1': start(20, 1, runFlow, (n) => JSON.stringify({ n })),
  'start-1000': start(1, 1000, runFlows, (n) => Array.from({ length: 1000 }, (_, m) => JSON.stringify({ n: n * 1000 + m }))),
})
