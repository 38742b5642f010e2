// Requests to the server: its errors as errors, its answers as values. Addresses are relative to the page's own, so that it
// also works behind a proxy that serves it under a path.

import { Lost } from './connection.js'
import { parse } from './json.js'
import { token } from './session.js'
import { setClock } from './words.js'

const ROOT = new URL('.', location.href)
const LONGEST = 30_000

/** An answer that is an error: `status` of HTTP, and `code`, `message`, `details` and `hint` as PostgREST has them. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message || `The server answered with status ${status}.`)
    this.status = status
    this.code = body.code
    this.details = body.details
    this.hint = body.hint
  }
}

/**
 * Asks the server, and returns the response if it is none of an error. `query` and `args` are objects, `body` is JSON as
 * text. `patient` is for answers that go on for ever.
 */
export async function request(
  path,
  { query = {}, args, body, accept = 'application/json', signal, patient = false } = {},
) {
  const url = new URL(path, ROOT)
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value)
  }
  const content = body ?? (args && JSON.stringify(args))
  const headers = { Accept: accept }
  if (content !== undefined) headers['Content-Type'] = 'application/json'
  if (token()) headers.Authorization = `Bearer ${token()}`
  const limit = patient ? signal : AbortSignal.any([AbortSignal.timeout(LONGEST), ...(signal ? [signal] : [])])
  const askedAt = Date.now()
  return reaching(signal, async () => {
    const response = await fetch(url, {
      method: content === undefined ? 'GET' : 'POST',
      headers,
      body: content,
      cache: 'no-store',
      signal: limit,
    })
    setClock(response.headers.get('Date'), askedAt)
    if (response.ok) return response
    const told = await response.text()
    let error = {}
    try {
      error = JSON.parse(told) ?? {}
    } catch {
      // Not of ours: the status has to do.
    }
    // It, or what stands before it, cannot just now.
    if ([502, 503, 504].includes(response.status)) throw new Lost(error.message)
    throw new Refused(response.status, error)
  })
}

/** The JSON of an answer. */
export async function ask(path, options) {
  const response = await request(path, options)
  const told = await reaching(options?.signal, () => response.text())
  return told === '' ? null : parse(told)
}

/** An answer as a picture. */
export async function askPicture(path, options) {
  const response = await request(path, { ...options, accept: 'image/svg+xml' })
  return new Blob([await reaching(options?.signal, () => response.arrayBuffer())], { type: 'image/svg+xml' })
}

// What fetch throws when there is no server, and what it throws when the answer breaks off or takes too long, are Lost.
async function reaching(signal, act) {
  try {
    return await act()
  } catch (error) {
    if (signal?.aborted || error instanceof Refused || error instanceof Lost) throw error
    throw new Lost()
  }
}
