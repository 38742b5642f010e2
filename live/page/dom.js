// Elements. Whatever users wrote reaches the page here, and only as text: nothing is ever read as markup.

import { duration, elapsed, now, plain, when } from './words.js'

/**
 * Makes an element. An attribute whose name begins with "on" is a listener; false, null and undefined ones are left out.
 * Children are nodes, texts, or null for none.
 */
export function el(tag, attributes, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else attribute(node, name, value)
  }
  node.append(...children.filter((child) => child !== null && child !== undefined))
  return node
}

/** Sets an attribute, or takes it away; touches nothing that is so already. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name)
  } else {
    const text = value === true ? '' : String(value)
    if (node.getAttribute(name) !== text) node.setAttribute(name, text)
  }
}

/** Sets the text of a node; touches nothing that is so already, so that selections stay and nothing is read out twice. */
export function text(node, value) {
  const words = value === null || value === undefined ? '' : String(value)
  if (node.textContent !== words) node.textContent = words
}

/** Makes these the children of a node, in this order. Those that stay are not moved, and keep the focus. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes)
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove()
  let next = parent.firstChild
  for (const node of nodes) {
    if (node === next) next = next.nextSibling
    else parent.insertBefore(node, next)
  }
}

const SVG = 'http://www.w3.org/2000/svg'

/** One of the shapes of index.html. It says nothing by itself: a word stands beside it. */
export function shape(name) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('class', 'shape')
  svg.setAttribute('aria-hidden', 'true')
  svg.append(document.createElementNS(SVG, 'use'))
  reshape(svg, name)
  return svg
}

/** Turns a shape into another one. */
function reshape(svg, name) {
  attribute(svg.firstChild, 'href', `#${name}`)
}

/** A status: its shape and, in the colour of it, its word. */
export function statusBadge(status) {
  const badge = el('span', { class: 'status' }, shape(status), el('span', {}))
  setStatus(badge, status)
  return badge
}

/** Changes what statusBadge made. */
export function setStatus(badge, status) {
  attribute(badge, 'data-status', status)
  reshape(badge.firstChild, status)
  text(badge.lastChild, status)
}

/** Shows a time of the server in a <time>. */
export function setTime(node, time) {
  text(node, time ? when(time) : '–')
  attribute(node, 'datetime', time)
  attribute(node, 'title', time ? new Date(time).toString() : null)
}

/** Shows how long something took; while it goes on, the text goes on as well. */
export function setTook(node, from, to) {
  const goesOn = Boolean(from) && !to
  attribute(node, 'data-since', goesOn ? from : null)
  if (goesOn) text(node, elapsed(now() - Date.parse(from)))
  else text(node, from ? duration(Math.max(0, Date.parse(to) - Date.parse(from))) : '–')
}

// One clock for all that goes on.
setInterval(() => {
  if (document.hidden) return
  const time = now()
  for (const node of document.querySelectorAll('[data-since]'))
    text(node, elapsed(time - Date.parse(node.dataset.since)))
  document.dispatchEvent(new Event('tick'))
}, 1000)

/** A text of any length that may have lines, such as an error; a long one is cut, with a button for the whole. */
export function longText(value, most = 1200) {
  const words = plain(value)
  if (words.length <= most) return el('pre', { class: 'words' }, words)
  const pre = el('pre', { class: 'words' }, `${words.slice(0, most)}…`)
  const whole = el(
    'button',
    { type: 'button', class: 'small', onclick: () => (text(pre, words), whole.remove()) },
    'Whole text',
  )
  return el('div', {}, pre, whole)
}

/** Has a screen reader say something. */
export function announce(words) {
  text(document.getElementById('announcer'), words)
}
