#!/usr/bin/env node
// DBOS: a workflow is a function whose three steps are recorded. It is started where it runs, so that the start is part
// of what is measured; its queues poll once a second.
import { inFlight, main, openPool } from './bench.mjs'
import { DBOS } from '@dbos-inc/dbos-sdk'

const limit = 20
let pool

const chain = DBOS.registerWorkflow(async () => {
  await DBOS.runStep(async () => 1, { name: 'one' })
  await DBOS.runStep(async () => 1, { name: 'two' })
  return await DBOS.runStep(async () => 1, { name: 'three' })
}, { name: 'chain' })

async function launch() {
  pool = await openPool(limit)
  DBOS.setConfig({ name: 'bench', systemDatabasePool: pool, logLevel: 'error' })
  await DBOS.launch()
}

async function shutdown() {
  await DBOS.shutdown()
  await pool.end()
}

await main('dbos', async () => {
  await launch()
  await shutdown()
}, {
  chain: (runs) => ({
    units: 'steps', total: runs * 3,
    connect: launch,
    work: () => inFlight(limit, runs, async (n) => {
      const handle = await DBOS.startWorkflow(chain)(n)
      await handle.getResult()
    }),
    close: shutdown,
    check: [[`SELECT (SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'),
                     (SELECT count(*) FROM dbos.operation_outputs)`, [runs, runs * 3]]],
  }),
})
