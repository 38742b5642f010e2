// Words: durations, times and numbers as people write them, and what users wrote made harmless to look at.

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Milliseconds in two units at most, as the pictures of runs say them. */
export function duration(ms) {
  const two = (large, small, one, other) => (small ? `${large} ${one} ${small} ${other}` : `${large} ${one}`)
  if (ms < 1) return '< 1 ms'
  if (ms < SECOND) return `${Math.floor(ms)} ms`
  if (ms < 10 * SECOND) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`
  if (ms < HOUR) return two(Math.floor(ms / MINUTE), Math.floor((ms % MINUTE) / SECOND), 'min', 's')
  if (ms < DAY) return two(Math.floor(ms / HOUR), Math.floor((ms % HOUR) / MINUTE), 'h', 'min')
  return two(Math.floor(ms / DAY), Math.floor((ms % DAY) / HOUR), 'd', 'h')
}

/** A duration that goes on: whole seconds, which change in step with the page's clock. */
export function elapsed(ms) {
  return ms < MINUTE ? `${Math.max(0, Math.floor(ms / SECOND))} s` : duration(ms)
}

/** How long something took that has ended; null when one of the times is missing. */
export function between(from, to) {
  if (!from || !to) return null
  const ms = Date.parse(to) - Date.parse(from)
  // Within a millisecond Date knows no difference, and the clock of the database may have been set back.
  return Number.isNaN(ms) ? null : duration(Math.max(0, ms))
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** A time of the server in the reader's time zone: the shorter, the nearer it is. */
export function when(time) {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return plain(time)
  const two = (number) => String(number).padStart(2, '0')
  const today = new Date(now())
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`
  if (date.toDateString() === today.toDateString()) return `${minutes}:${two(date.getSeconds())}`
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]}`
  return date.getFullYear() === today.getFullYear() ? `${day}, ${minutes}` : `${day} ${date.getFullYear()}, ${minutes}`
}

/** A number, its thousands apart. */
export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** A number of things, and the word for them. */
export function count(value, thing) {
  return `${number(value)} ${thing}${value === 1 ? '' : 's'}`
}

/** A size of so many characters or bytes, roughly. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

const COLOURS_OF_TERMINALS = /\u001b\[[0-9;]*m/g
// Controls but for tab and line break, what turns the direction of writing, what is not seen, and halves of characters.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Makes visible what a text may hide, such as marks that turn the direction of writing. */
export function seen(text) {
  return text.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** What a user or a program wrote (an error, a key), to be shown as text. */
export function plain(text) {
  return seen(String(text).replace(COLOURS_OF_TERMINALS, '').replace(/\r\n?/g, '\n'))
}

// How far the server's clock is ahead of this one's. Its headers know whole seconds only.
let ahead = 0

/** What time it is for the server, in milliseconds. Durations that go on are counted by it. */
export function now() {
  return Date.now() + ahead
}

/** Takes the server's time from the Date header of a response to what was asked at that time. */
export function setClock(header, askedAt) {
  const told = Date.parse(header ?? '')
  if (Number.isNaN(told)) return
  const here = (askedAt + Date.now()) / 2
  const difference = told + SECOND / 2 - here
  ahead = Math.abs(difference) > 2 * SECOND ? difference : 0
}
