// Runs the tests, one after the other, on one database and mostly one pgflow-live.
import { finish, run } from './harness.mjs'

import './tokens.mjs'
import './calls.mjs'
import './streams.mjs'
import './channels.mjs'
import './browser.mjs'
import './failures.mjs'

const code = await run(process.argv.slice(2))
await finish()
// Streams that a failed test left open would keep it.
process.exit(code)
