// The events of a run, told by the server as they happen. EventSource cannot send a token but in the address, where logs
// and histories keep it; so the stream is read by hand.

import { request, Refused } from './api.js'
import { back, backOff, Lost, lost, pause, shown } from './connection.js'
import { parse } from './json.js'

// The server lets itself be heard more often than that. A connection that died without a word is noticed by it.
const SILENCE = 60_000
// A browser has few connections to a server: a page that nobody looks at gives its own away.
const UNSEEN = 30_000

/**
 * Watches a run until the signal is aborted, and comes back after each loss. `heard(event, data)` is called for each event:
 * the first one of each connection is `state`. `refused(error)` is called, and all is over, when the server will not tell:
 * also when it has ended the stream, because the token ran out or the run was deleted.
 */
export async function watch(runId, { heard, refused, signal }) {
  let failures = 0
  let problem = null
  signal.addEventListener('abort', () => back('events'))
  while (!signal.aborted) {
    await shown(signal)
    const connection = new AbortController()
    const own = AbortSignal.any([signal, connection.signal])
    const end = () => connection.abort()
    let timer = setTimeout(end, SILENCE)
    let left
    const look = () => {
      clearTimeout(left)
      if (document.hidden) left = setTimeout(end, UNSEEN)
    }
    document.addEventListener('visibilitychange', look)
    try {
      const response = await request(`runs/${encodeURIComponent(runId)}/events`, {
        accept: 'text/event-stream',
        signal: own,
        patient: true,
      })
      for await (const chunk of chunks(response.body, own)) {
        clearTimeout(timer)
        timer = setTimeout(end, SILENCE)
        if (chunk === null) continue
        if (chunk.event === 'expired') return refused(new Refused(401, { message: 'the token has run out' }))
        back('events')
        failures = 0
        // What goes wrong in showing it is no loss of the connection.
        try {
          heard(chunk.event, parse(chunk.data))
        } catch (error) {
          reportError(error)
        }
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof Refused) return refused(error)
      problem = error instanceof Lost ? error : null
    } finally {
      clearTimeout(timer)
      clearTimeout(left)
      document.removeEventListener('visibilitychange', look)
      connection.abort()
    }
    if (signal.aborted) return
    if (document.hidden) continue
    failures += 1
    // A server that restarts, or a proxy that ends what lasts long, is back at once: no word about that.
    if (failures > 1) lost('events', problem)
    await (failures > 1 ? backOff(failures, signal) : pause(500, signal))
  }
}

// The events in a stream, and null for each piece of it, which may hold a comment alone.
async function* chunks(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  signal.addEventListener('abort', () => reader.cancel().catch(() => {}))
  let rest = ''
  let event = ''
  let data = []
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    yield null
    // A large event comes in many pieces, which are looked at once.
    if (!/[\r\n]/.test(value)) {
      rest += value
      continue
    }
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()
    for (const line of lines) {
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line)
      if (line === '') {
        if (data.length) yield { event: event || 'message', data: data.join('\n') }
        event = ''
        data = []
      } else if (field === 'event') event = content
      else if (field === 'data') data.push(content)
    }
  }
}
