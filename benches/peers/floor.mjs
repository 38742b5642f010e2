#!/usr/bin/env node
// The floor with a worker in Node.js: the statements of pgbench/floor-apart.pgbench, claimed and settled one at a time. An
// engine that writes these rows can hardly be faster.
import { connections, main, sleep } from './bench.mjs'
import { readFile } from 'node:fs/promises'

const file = (name) => readFile(new URL(`pgbench/${name}`, import.meta.url), 'utf8')

// The two statements of the script; pgbench's variables become parameters.
async function statements(lazy) {
  const script = await file('floor-apart.pgbench')
  const [, claim, settle] = script.match(/^(WITH[^]*?) \\gset[^]*^\\else$([^]*)^\\endif$/m)
  const variables = ['run_ids', 'steps', 'leases', 'outputs']
  return {
    claim: {
      name: 'claim',
      text: claim.replace('BATCH', '1').replace('LAZY ', lazy ? `set_config('synchronous_commit', 'off', true), ` : ''),
    },
    settle: {
      name: 'settle',
      text: settle.replace(/(?<!:):(\w+)::text/g, (whole, name) => `$${variables.indexOf(name) + 1}::text`),
    },
  }
}

async function oneByOne(client, { claim, settle }, left) {
  while (left.tasks > 0) {
    const { rows: [task] } = await client.query(claim)
    if (task.claimed === '0') {
      await sleep(1)
      continue
    }
    await client.query({ ...settle, values: [task.run_ids, task.steps, task.leases, task.outputs] })
    left.tasks -= 1
  }
}

const chain = (lazy) => (runs, admin) => {
  const left = { tasks: runs * 3 }
  let lines, calls
  return {
    units: 'steps', total: left.tasks,
    enqueue: async () => {
      const start = await file('floor-start.sql')
      await admin.query(start.replace(':runs', runs))
    },
    connect: async () => {
      calls = await statements(lazy)
      lines = await connections(20)
      // As in by-pgbench: whoever wrote these joins knows that each is a walk by key.
      for (const client of lines) {
        await client.query(`SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
          SET plan_cache_mode = force_generic_plan`)
      }
    },
    work: () => Promise.all(lines.map((client) => oneByOne(client, calls, left))),
    close: () => Promise.all(lines.map((client) => client.end())),
    check: [[`SELECT (SELECT count(*) FROM floor.runs WHERE status = 'completed'),
                     (SELECT count(*) FROM floor.step_tasks WHERE status = 'completed'),
                     (SELECT count(*) FROM floor.step_tasks), (SELECT count(*) FROM floor.live_tasks)`,
    [runs, runs * 3, runs * 3, 0]]],
  }
}

await main('floor', async (admin) => admin.query(await file('floor.sql')), {
  'chain-1': chain(false),
  'chain-1-lazy': chain(true),
})
