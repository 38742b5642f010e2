// Who is looking: the token, kept for this tab, and whom the server takes it for.

const KEY = 'pgflow.token'
const changes = new EventTarget()

/** What the server says about the token: {role, sub, manages_runs, expires_at}; null while it is not known. */
export let me = null

/** The token, or null. */
export function token() {
  return sessionStorage.getItem(KEY)
}

/** Takes another token, or none. */
export function setToken(value) {
  const wanted = value?.trim().replace(/^Bearer\s+/i, '')
  if (wanted) sessionStorage.setItem(KEY, wanted)
  else sessionStorage.removeItem(KEY)
  me = null
  changes.dispatchEvent(new Event('token'))
}

/** Keeps what the server said about the token. */
export function setMe(value) {
  const before = JSON.stringify(me)
  me = value
  if (JSON.stringify(me) !== before) changes.dispatchEvent(new Event('me'))
}

/** Calls back on 'token', when there is another one, or on 'me', when it is known anew whose it is. */
export function onSession(kind, listener, signal) {
  changes.addEventListener(kind, listener, { signal })
}

/**
 * Takes the token of an address such as #token=eyJ… or #token=eyJ…/runs/0198…, and removes it from the address and from
 * the history, so that it is not shown, shared or kept. Returns whether there was one.
 */
export function takeTokenOfAddress() {
  const found = /^#token=([^/?#&]*)[&#]?(.*)$/s.exec(location.hash)
  if (!found) return false
  history.replaceState(null, '', `#${found[2] || '/'}`)
  let given = found[1]
  try {
    given = decodeURIComponent(given)
  } catch {
    // Not percent-encoded, then.
  }
  setToken(given)
  return true
}
