// The picture of a flow or run, which the server draws. It comes as a blob, because an <img> sends no token; as an <img> it
// is harmless whatever is in it, for images run no scripts and load nothing.

import { askPicture } from './api.js'
import { repeat } from './connection.js'
import { el, text } from './dom.js'
import { plain } from './words.js'

// Smaller than that, the words in it cannot be read: then it is shown as it is, to be scrolled.
const SMALLEST = 0.62

/**
 * A panel with a picture. `refresh()` asks for it anew, and so does the time when `every()` milliseconds are over;
 * `describe(words)` says what those who cannot see it are told. The old picture stays until the new one can be shown.
 */
export function picture(path, query, { name, every, signal }) {
  const frame = el('div', { class: 'frame', tabindex: 0, role: 'group', 'aria-label': 'Picture' })
  const toggle = el('button', { type: 'button', class: 'small', hidden: true }, 'Actual size')
  const node = el('figure', { class: 'picture waiting' }, frame, toggle)
  let image = null
  let address = null
  let alt = ''
  // What the reader chose; until then, whatever can be read.
  let actual = null

  const fit = () => {
    if (!image) return
    const scale = Math.min(
      1,
      node.parentElement.clientWidth / image.naturalWidth,
      (0.65 * innerHeight) / image.naturalHeight,
    )
    const isActual = actual ?? scale < SMALLEST
    frame.classList.toggle('actual', isActual)
    text(toggle, isActual ? 'Fit' : 'Actual size')
    toggle.hidden = scale > 0.97
  }
  toggle.addEventListener('click', () => {
    actual = !frame.classList.contains('actual')
    fit()
  })
  const observer = new ResizeObserver(fit)

  const task = async () => {
    const next = URL.createObjectURL(await askPicture(path, { query, signal }))
    const drawn = new Image()
    drawn.src = next
    try {
      await drawn.decode()
    } catch {
      URL.revokeObjectURL(next)
      return
    }
    if (signal.aborted) return URL.revokeObjectURL(next)
    drawn.alt = alt
    const { scrollLeft, scrollTop } = frame
    frame.replaceChildren(drawn)
    if (address) URL.revokeObjectURL(address)
    address = next
    image = drawn
    node.classList.remove('waiting')
    observer.observe(node.parentElement)
    fit()
    frame.scrollTo(scrollLeft, scrollTop)
  }
  const refused = (error) => {
    if (image) return
    node.classList.remove('waiting')
    frame.replaceChildren(el('p', { class: 'note' }, `No picture: ${plain(error.message)}`))
  }
  const refresh = repeat(name, task, { signal, gap: 1000, every, refused })
  signal.addEventListener('abort', () => {
    observer.disconnect()
    if (address) URL.revokeObjectURL(address)
  })
  const describe = (words) => {
    alt = words
    if (image && image.alt !== words) image.alt = words
  }
  return { node, refresh, describe }
}
