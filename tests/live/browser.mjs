// The page, in a real browser: page.mjs is a program of its own, so that it can also be run against any other server.
import { spawn } from 'node:child_process'
import { assert, live, secret, test } from './harness.mjs'

test('the page shows a run as it goes on, in a real browser', async () => {
  const env = { ...process.env, PGFLOW_LIVE_URL: await live(), PGFLOW_LIVE_JWT_SECRET: secret }
  const child = spawn(process.execPath, ['page.mjs'], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  const code = await new Promise((resolve) => child.once('exit', resolve))
  assert.equal(code, 0)
})
