#!/usr/bin/env node
// pg-boss, a plain queue: independent jobs, fetched and completed one by one or in batches.
import { main } from './bench.mjs'
import { PgBoss } from 'pg-boss'

const queue = 'bench'

async function start(connections) {
  const boss = new PgBoss({ database: process.env.PGDATABASE, host: process.env.PGHOST, port: Number(process.env.PGPORT),
    user: process.env.PGUSER, max: connections, supervise: false, schedule: false })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  return boss
}

const jobs = (batch, workers) => (total) => {
  let boss
  return {
    units: 'jobs', total,
    enqueue: async () => {
      const boss = await start(2)
      for (let from = 0; from < total; from += 1000) {
        const size = Math.min(1000, total - from)
        await boss.insert(queue, Array.from({ length: size }, (_, n) => ({ data: { n: from + n } })))
      }
      await boss.stop({ graceful: false })
    },
    connect: async () => {
      boss = await start(workers)
      await Promise.all(Array.from({ length: workers }, () => boss.getDb().executeSql('SELECT pg_sleep(0.1)')))
    },
    work: async () => {
      const worker = async () => {
        for (;;) {
          const fetched = await boss.fetch(queue, { batchSize: batch })
          if (!fetched.length) return
          await boss.complete(queue, fetched.map((job) => job.id))
        }
      }
      await Promise.all(Array.from({ length: workers }, worker))
    },
    close: () => boss.stop({ graceful: false }),
    check: [[`SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FROM pgboss.job WHERE name = '${queue}'`,
      [total, total]]],
  }
}

await main('pg-boss', async () => {
  const boss = await start(2)
  await boss.createQueue(queue)
  await boss.stop({ graceful: false })
}, {
  'jobs-1': jobs(1, 20),
  'jobs-50': jobs(50, 4),
})
