// Whether the server is there. Everything that asks it again and again does so here: while the page is looked at, never
// twice at once, less often the longer the answers take, and with growing pauses while none comes.

/**
 * The server gave no answer, or said that it cannot just now, or something between here and there answered in its place. It
 * may be back in a moment. The message is what was said, if anything was.
 */
export class Lost extends Error {}

const troubled = new Map()
const bell = new EventTarget()

/** Waits so many milliseconds, which may be Infinity, or until the signal is aborted or the bell rings. */
export function pause(ms, signal, ...bells) {
  return new Promise((done) => {
    let timer
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      for (const one of bells) one.removeEventListener('ring', end)
      done()
    }
    if (signal.aborted) return done()
    signal.addEventListener('abort', end)
    for (const one of bells) one.addEventListener('ring', end)
    if (Number.isFinite(ms)) timer = setTimeout(end, Math.max(0, ms))
  })
}

/** Waits until somebody looks at the page, if nobody does. */
export function shown(signal) {
  if (!document.hidden || signal.aborted) return Promise.resolve()
  return new Promise((done) => {
    const end = () => {
      if (document.hidden && !signal.aborted) return
      document.removeEventListener('visibilitychange', end)
      signal.removeEventListener('abort', end)
      done()
    }
    document.addEventListener('visibilitychange', end)
    signal.addEventListener('abort', end)
  })
}

/** Waits before the next try after so many failures: a second at first, at most 15, and not in step with other pages. */
export function backOff(failures, signal) {
  const ms = Math.min(15_000, 1000 * 2 ** Math.min(failures - 1, 10)) * (0.75 + Math.random() / 2)
  return pause(ms, signal, bell)
}

/** Says that what goes by this name has lost the server, and what was said last. */
export function lost(name, error) {
  troubled.set(name, error?.message ?? '')
  showTrouble()
}

/** Says that what goes by this name has the server again, or does not want it any more. */
export function back(name) {
  if (troubled.delete(name)) showTrouble()
}

function showTrouble() {
  document.getElementById('lost').hidden = troubled.size === 0
  const said = [...troubled.values()].find(Boolean)
  const words = said ? `Not available: ${said}. Trying again…` : 'Connection lost. Reconnecting…'
  const shown = document.getElementById('lost-words')
  if (shown.textContent !== words) shown.textContent = words
}

const ring = () => bell.dispatchEvent(new Event('ring'))
document.getElementById('try-now').addEventListener('click', ring)
window.addEventListener('online', ring)
document.addEventListener('visibilitychange', () => document.hidden || ring())

/**
 * Does a task, after `delay` milliseconds if that is given, and again whenever the function that this returns is called, or when so many milliseconds have
 * passed, which `every()` says and which may be Infinity. Between two times are `gap` milliseconds at least. What the task
 * throws, other than Lost, is handed to `refused`.
 */
export function repeat(name, task, { signal, delay = 0, gap = 1000, every = () => Infinity, refused }) {
  const own = new EventTarget()
  let asked = true
  const go = async () => {
    let failures = 0
    signal.addEventListener('abort', () => back(name))
    if (delay) await pause(delay, signal, own)
    while (!signal.aborted) {
      await shown(signal)
      if (signal.aborted) break
      asked = false
      const begun = performance.now()
      try {
        await task()
        if (signal.aborted) break
        failures = 0
        back(name)
      } catch (error) {
        if (signal.aborted) break
        if (error instanceof Lost) {
          failures += 1
          lost(name, error)
          await backOff(failures, signal)
          continue
        }
        failures = 0
        back(name)
        refused(error)
      }
      // An answer that takes long costs the server as much: ask for it a tenth of the time at most.
      const rest = Math.max(gap, Math.min(30_000, 10 * (performance.now() - begun)))
      await pause(rest, signal)
      if (!asked) await pause(every() - rest, signal, own)
    }
  }
  go()
  return () => {
    asked = true
    own.dispatchEvent(new Event('ring'))
  }
}
