#!/usr/bin/env node
// absurd: a workflow is a task with three checkpointed steps. absurdctl brings the schema.
import { inFlight, main, openPool, sleep, until } from './bench.mjs'
import { execFileSync } from 'node:child_process'
import { Absurd } from 'absurd-sdk'
import pg from 'pg'

const queue = 'bench'
const limit = 20

await main('absurd', async () => {
  for (const command of [['init'], ['create-queue', queue]]) {
    execFileSync('absurdctl', command, { stdio: ['ignore', 'ignore', 'inherit'] })
  }
}, {
  chain: (runs, admin) => {
    let pool, app, worker, ended = 0
    return {
      units: 'steps', total: runs * 3,
      enqueue: async () => {
        const pool = new pg.Pool({ max: 4 })
        const app = new Absurd({ db: pool, queueName: queue })
        await inFlight(4, runs, (n) => app.spawn('chain', { n }, { queue }))
        await pool.end()
      },
      connect: async () => {
        pool = await openPool(limit)
        app = new Absurd({ db: pool, queueName: queue })
        app.registerTask({ name: 'chain' }, async (params, ctx) => {
          await ctx.step('one', async () => 1)
          await ctx.step('two', async () => 1)
          const last = await ctx.step('three', async () => 1)
          ended++
          return last
        })
      },
      work: async () => {
        worker = await app.startWorker({ concurrency: limit })
        while (ended < runs) await sleep(2)
        await until(admin, `SELECT NOT EXISTS (SELECT FROM absurd.t_${queue} WHERE state <> 'completed')`)
      },
      close: async () => {
        await worker.close()
        await pool.end()
      },
      check: [[`SELECT (SELECT count(*) FROM absurd.t_${queue} WHERE state = 'completed'),
                       (SELECT count(*) FROM absurd.c_${queue})`, [runs, runs * 3]]],
    }
  },

  start: (runs) => {
    let pool, app
    return {
      units: 'runs', total: runs,
      connect: async () => {
        pool = await openPool(limit)
        app = new Absurd({ db: pool, queueName: queue })
      },
      work: () => inFlight(limit, runs, (n) => app.spawn('chain', { n }, { queue })),
      close: () => pool.end(),
      check: [[`SELECT count(*) FROM absurd.t_${queue} WHERE state = 'pending'`, [runs]]],
    }
  },
})
