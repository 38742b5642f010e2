// What the programs in Node.js share: the command line, counters read around the measured part, and the line of result.
//
// A program says how it installs itself and what its workloads are. A workload is a function of its amount that returns
//   units    what is counted: steps, jobs or runs
//   total    how many of them there are
//   enqueue  puts the work there (not measured)
//   connect  opens the worker's connections, does none of the work (not measured)
//   work     does the work; it returns when the last item is durable (measured)
//   close    ends the worker's connections
//   check    what must be in the database now: a query and the one row that it must return
import { readFileSync } from 'node:fs'
import pg from 'pg'

const patience = 600 // seconds that a measurement may take at most

/** Waits, for what has no other way to say that it is done. */
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Clients that are connected already, so that connecting is not measured. */
export async function connections(count) {
  const clients = Array.from({ length: count }, () => new pg.Client())
  await Promise.all(clients.map((client) => client.connect()))
  return clients
}

/** A pool of which every connection is open. */
export async function openPool(count) {
  const pool = new pg.Pool({ max: count, idleTimeoutMillis: 0 })
  const clients = await Promise.all(Array.from({ length: count }, () => pool.connect()))
  for (const client of clients) client.release()
  return pool
}

/** Does something for 0 … total-1 with so many in flight. */
export async function inFlight(limit, total, act) {
  let next = 0
  const line = async () => {
    while (next < total) await act(next++)
  }
  await Promise.all(Array.from({ length: limit }, line))
}

/** Returns when the query, asked again and again, says true. */
export async function until(client, query) {
  while (!(await client.query({ text: query, rowMode: 'array' })).rows[0][0]) await sleep(2)
}

// Fields of /proc/PID/stat from the state on, which is field 3.
const stat = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')

/** Processor time of the server's ended processes, where the server is on this machine and this is Linux. */
function serverSeconds(admin) {
  try {
    const [userTicks, systemTicks] = stat(stat(admin.processID)[1]).slice(13, 15).map(Number)
    return (userTicks + systemTicks) / 100
  } catch {
    return NaN
  }
}

async function counters(admin) {
  // Sessions report what they did at their end at the latest.
  await until(admin, `SELECT count(*) = 0 FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`)
  await admin.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await admin.query(`SELECT xact_commit::float8 AS commits,
      pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal
    FROM pg_stat_database WHERE datname = current_database()`)
  return { ...rows[0], processor: serverSeconds(admin) }
}

async function measure(admin, workload) {
  await workload.enqueue?.()
  await admin.query('VACUUM (ANALYZE)')
  await admin.query('CHECKPOINT')
  const before = await counters(admin)
  await workload.connect?.()
  const processor = process.cpuUsage()
  const start = performance.now()
  await workload.work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(processor)
  await workload.close?.()
  const after = await counters(admin)
  for (const [query, expected] of workload.check) {
    const { rows } = await admin.query({ text: query, rowMode: 'array' })
    if (JSON.stringify(rows[0].map(Number)) !== JSON.stringify(expected)) {
      throw new Error(`${query}: ${rows[0]} instead of ${expected}`)
    }
  }
  return {
    seconds, commits: after.commits - before.commits, wal_bytes: after.wal - before.wal,
    client_seconds: (user + system) / 1e6, server_seconds: after.processor - before.processor,
  }
}

/** Runs the program. */
export async function main(peer, setup, workloads) {
  const [name, amount] = process.argv.slice(2)
  const workload = Object.hasOwn(workloads, name ?? '') && workloads[name]
  if (name !== 'setup' && !(workload && Number(amount) > 0)) {
    console.error(`usage: ${peer} setup\n       ${peer} ${Object.keys(workloads).join('|')} AMOUNT`)
    process.exit(2)
  }
  setTimeout(() => {
    console.error(`${peer} ${name} ${amount ?? ''}: not done after ${patience} seconds`)
    process.exit(1)
  }, patience * 1000)
  const admin = new pg.Client()
  await admin.connect()
  if (name === 'setup') {
    await setup(admin)
  } else {
    const { units, total, ...steps } = workload(Number(amount), admin)
    const result = await measure(admin, { units, total, ...steps })
    console.log(JSON.stringify({ peer, workload: name, units, done: total, ...result }))
  }
  await admin.end()
  process.exit(0) // whatever timers a library has left
}
