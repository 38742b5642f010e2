#!/usr/bin/env node
// graphile-worker, a plain queue: independent jobs, which it deletes when they are done, or chains of them, where each job
// adds the next. Batched means its local queue and batched completion.
import { main, until } from './bench.mjs'
import { Logger, run, runMigrations } from 'graphile-worker'
import pg from 'pg'

const quiet = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message)
})
const pool = () => {
  const clients = new pg.Pool({ max: 25 })
  clients.on('error', (error) => console.error(error))
  clients.on('connect', (client) => client.on('error', (error) => console.error(error)))
  return clients
}
const none = 'SELECT count(*) = 0 FROM graphile_worker._private_jobs'

const jobs = (options, payload, steps = 1) => (chains, admin) => {
  let clients, done = 0
  let ended
  const total = chains * steps
  const job = async ({ n, step = 1 }, { addJob }) => {
    if (step < steps) await addJob('job', { n, step: step + 1 })
    if (++done === total) ended()
  }
  return {
    units: steps > 1 ? 'steps' : 'jobs', total,
    enqueue: () => admin.query(
      `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
         SELECT row('job', ${payload}, null, null, null, null, null, null)::graphile_worker.job_spec
         FROM generate_series(1, $1) n))`, [chains]),
    connect: async () => {
      clients = pool()
      const opened = await Promise.all(Array.from({ length: 25 }, () => clients.connect()))
      for (const client of opened) client.release()
    },
    work: async () => {
      const last = new Promise((resolve) => { ended = resolve })
      const runner = await run({
        pgPool: clients, noHandleSignals: true,
        taskList: { job },
        preset: { worker: { logger: quiet, crontabFile: '/nonexistent', ...options } },
      })
      await last
      await until(admin, none)
      await runner.stop()
    },
    close: async () => {
      await clients.end()
      if (done !== total) throw new Error(`${done} jobs were worked on instead of ${total}`)
    },
    check: [['SELECT count(*) FROM graphile_worker._private_jobs', [0]]],
  }
}

const plain = { concurrentJobs: 20, maxPoolSize: 25 }
const batched = {
  concurrentJobs: 24, maxPoolSize: 25, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0,
}
const small = `json_build_object('n', n)`
const large = `json_build_object('n', n, 'text',
  (SELECT string_agg(md5((n * 31 + m)::text), '') FROM generate_series(1, 31) m))`

await main('graphile-worker', async () => {
  const clients = pool()
  await runMigrations({ pgPool: clients, preset: { worker: { logger: quiet } } })
  await clients.end()
}, {
  'jobs-1': jobs(plain, small),
  'jobs-batched': jobs(batched, small),
  'jobs-batched-1kb': jobs(batched, large),
  'chain-batched': jobs(batched, small, 3),
})
