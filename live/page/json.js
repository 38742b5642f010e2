// JSON as people read it: indented, coloured, what is short on one line, and of what is long the beginning, with a button
// for the whole.

import { arrange, el, text } from './dom.js'
import { seen, size } from './words.js'

// Characters that are shown at first, and that a page can show at all without getting slow.
const FIRST = 4000
const MOST = 3_000_000
const LINE = 76

/** A number that JavaScript has no exact value for. */
class Exact {
  constructor(source) {
    this.source = source
  }

  toJSON() {
    return JSON.rawJSON ? JSON.rawJSON(this.source) : Number(this.source)
  }
}

/** Reads JSON. Numbers of more digits than JavaScript can hold stay as they were written, where the browser can do that. */
export function parse(source) {
  const value = JSON.parse(source)
  if (!/\d{16}/.test(source)) return value
  try {
    return JSON.parse(source, (key, item, context) => {
      const written = context?.source
      return typeof item === 'number' && written !== undefined && written !== String(item) ? new Exact(written) : item
    })
  } catch {
    // Nested so deep that to walk over it takes more room than there is.
    return value
  }
}

const isNumber = (value) => typeof value === 'number' || value instanceof Exact
const isSmall = (value) =>
  value === null || typeof value !== 'object' || value instanceof Exact || Object.keys(value).length === 0

// The pieces of a value as [kind, text]. `room` counts down what may still be written; texts are cut before they are quoted,
// so that a large value costs no more than what is shown of it.
function* pieces(value, indent, room) {
  const give = (kind, words) => {
    room.left -= words.length
    return [kind, words]
  }
  const quote = (words) => seen(JSON.stringify(words.slice(0, Math.max(0, room.left) + 1)))
  if (value === null || typeof value === 'boolean') yield give('word', String(value))
  else if (value instanceof Exact) yield give('number', value.source)
  else if (typeof value === 'number') yield give('number', String(value))
  else if (typeof value === 'string') yield give('string', quote(value))
  else {
    const isArray = Array.isArray(value)
    const [open, close] = isArray ? '[]' : '{}'
    const keys = isArray ? null : Object.keys(value)
    const length = isArray ? value.length : keys.length
    const at = (n) => (isArray ? value[n] : value[keys[n]])
    let isShort = length <= 12
    for (let n = 0, sum = indent; isShort && n < length; n += 1) {
      const item = at(n)
      sum += (isArray ? 2 : keys[n].length + 6) + (typeof item === 'string' ? item.length + 2 : 6)
      isShort = isSmall(item) && sum <= LINE
    }
    // A row of numbers flows as a text does, however long it is.
    if (isArray && value.slice(0, 20).every(isNumber)) isShort = true
    const before = (n) => (isShort ? (n ? ' ' : '') : `\n${' '.repeat(indent + 2)}`)
    yield give('', open)
    for (let n = 0; n < length; n += 1) {
      if (room.left <= 0) return
      yield give('', `${n ? ',' : ''}${before(n)}`)
      if (!isArray) {
        yield give('key', quote(keys[n]))
        yield give('', ': ')
      }
      yield* pieces(at(n), indent + 2, room)
    }
    yield give('', isShort || length === 0 ? close : `\n${' '.repeat(indent)}${close}`)
  }
}

/** The whole of a value as text; null if it is nested so deep that it cannot be written. */
export function written(value) {
  try {
    return seen(JSON.stringify(value, null, 2))
  } catch {
    return null
  }
}

/**
 * A box that shows a value. `show(value, version, empty)` changes it: a version that was shown already is left as it is, with
 * what the reader has unfolded and selected; `empty` is said when the value is undefined.
 */
export function jsonBox(title, name) {
  const heading = el('h3', {}, title)
  const buttons = el('span', { class: 'tools' })
  const pre = el('pre', { class: 'json', tabindex: 0, role: 'group', 'aria-label': title })
  const node = el('section', { class: 'value' }, el('div', { class: 'bar' }, heading, buttons), pre)
  let shownVersion
  const show = (value, version, empty) => {
    if (version === shownVersion) return
    shownVersion = version
    if (value === undefined) {
      arrange(buttons, [])
      pre.classList.add('none')
      text(pre, empty)
      return
    }
    pre.classList.remove('none')
    const room = { left: FIRST }
    const parts = []
    let isCut = false
    for (const [kind, words] of pieces(value, 0, room)) {
      parts.push(kind ? el('span', { class: kind }, words) : document.createTextNode(words))
      isCut = room.left <= 0
      if (isCut) break
    }
    if (isCut) parts.push(el('span', { class: 'none' }, '…'))
    pre.replaceChildren(...parts)
    const whole = isCut ? written(value) : null
    arrange(buttons, [wholeButton(whole), saveButton(whole), copyButton(value)].filter(Boolean))
  }
  const wholeButton = (whole) => {
    if (whole === null || whole.length > MOST) return null
    const press = () => {
      pre.textContent = whole
      pre.focus()
      button.remove()
    }
    const button = el('button', { type: 'button', class: 'small', onclick: press }, `Whole (${size(whole.length)})`)
    return button
  }
  const saveButton = (whole) => {
    if (whole === null) return null
    const press = () => {
      const address = URL.createObjectURL(new Blob([whole], { type: 'application/json' }))
      el('a', { href: address, download: `${name()}.json` }).click()
      setTimeout(() => URL.revokeObjectURL(address), 60_000)
    }
    return el('button', { type: 'button', class: 'small', onclick: press }, 'Save')
  }
  const copyButton = (value) => {
    // Browsers have it for https and localhost only.
    if (!navigator.clipboard) return null
    const press = async () => {
      await navigator.clipboard.writeText(written(value) ?? '').then(
        () => text(button, 'Copied'),
        () => text(button, 'Not allowed'),
      )
      setTimeout(() => text(button, 'Copy'), 1500)
    }
    const button = el('button', { type: 'button', class: 'small', onclick: press }, 'Copy')
    return button
  }
  return { node, show }
}
