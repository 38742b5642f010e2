// Starting a run: a flow, its picture, a payload as JSON.

import { address } from './address.js'
import { ask } from './api.js'
import { Lost } from './connection.js'
import { attribute, el, text } from './dom.js'
import { picture } from './picture.js'
import { errorWords, refusal } from './refusal.js'
import { plain } from './words.js'

const EMPTY = { payload: '{}', key: '' }
// What was written stays when another flow is chosen, or a run is looked at in between.
let draft = EMPTY

/** Has the next form begin with this payload and key. */
export function prepare(payload, key) {
  draft = { payload: payload ?? EMPTY.payload, key: key ?? '' }
}

/**
 * Shows the form in `root`, for the flow `slug` if one is named. `go(path)` is called with the address of the run that was
 * started.
 */
export async function startPage(root, slug, { query, go, signal }) {
  let flows
  try {
    flows = await ask('flows', { signal })
  } catch (error) {
    if (signal.aborted) return
    const shown = error instanceof Lost ? { message: 'The server does not answer.' } : error
    root.replaceChildren(refusal(shown, 'flow', () => startPage(root, slug, { query, go, signal })))
    return
  }
  if (signal.aborted) return
  const up = el('p', { class: 'up' }, el('a', { href: address('/', query) }, '← Runs'))
  if (flows.length === 0) {
    root.replaceChildren(
      up,
      el('h1', {}, 'Start a run'),
      el('p', {}, 'There is no flow that you may run.'),
      el(
        'p',
        { class: 'note' },
        'Who may define flows makes one with pgflow.define_flow(), and lets others run it with pgflow.grant_run().',
      ),
    )
    return
  }

  const choose = el('select', { id: 'flow' })
  choose.addEventListener('change', () => {
    // Until the form of the other flow is there, nothing is started.
    button.disabled = true
    go(address(`/start/${encodeURIComponent(choose.value)}`, query))
  })
  for (const flow of flows) choose.append(el('option', { value: flow.flow_slug }, plain(flow.flow_slug)))
  const isKnown = flows.some((flow) => flow.flow_slug === slug)
  const chosen = isKnown ? flows.find((flow) => flow.flow_slug === slug) : flows[0]
  choose.value = chosen.flow_slug
  const payload = el('textarea', {
    id: 'payload',
    rows: 8,
    spellcheck: 'false',
    autocapitalize: 'off',
    autocomplete: 'off',
    'aria-describedby': 'payload-hint',
  })
  payload.value = draft.payload
  const key = el('input', { id: 'key', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'key-hint' })
  key.value = draft.key
  const told = el('div', { class: 'told-here', role: 'alert' })
  const button = el('button', { type: 'submit', class: 'main' }, 'Start')
  // However often the button is pressed for what stands in the form, and however often the answer is lost, it is one run.
  let idempotencyKey = newKey()
  const changed = () => {
    draft = { payload: payload.value, key: key.value }
    idempotencyKey = newKey()
    attribute(payload, 'aria-invalid', null)
    told.replaceChildren()
  }
  payload.addEventListener('input', changed)
  key.addEventListener('input', changed)

  const submit = async (event) => {
    event.preventDefault()
    told.replaceChildren()
    const source = payload.value.trim()
    try {
      if (source) JSON.parse(source)
    } catch (error) {
      attribute(payload, 'aria-invalid', 'true')
      told.replaceChildren(el('p', { class: 'message' }, `The payload is no JSON: ${error.message}`))
      payload.focus()
      return
    }
    const args = { flow_slug: chosen.flow_slug, idempotency_key: idempotencyKey }
    if (key.value) args.key = key.value
    // The payload goes as it was written, since JavaScript would round long numbers.
    const body = `${JSON.stringify(args).slice(0, -1)}${source ? `,"payload":${source}` : ''}}`
    button.disabled = true
    text(button, 'Starting…')
    try {
      const id = await ask('rpc/run_flow', { body, signal })
      draft = EMPTY
      go(address(`/runs/${id}`, query))
      return
    } catch (error) {
      if (signal.aborted) return
      const words = el('p', { class: 'message' }, 'No answer came. Press again: it will not be started twice.')
      told.replaceChildren(error instanceof Lost ? words : errorWords(error))
    }
    button.disabled = false
    text(button, 'Start')
  }

  const drawing = picture(
    'rpc/flow_svg',
    { flow_slug: chosen.flow_slug },
    { name: 'picture', every: () => Infinity, signal },
  )
  drawing.describe(`The steps of the flow ${chosen.flow_slug} as a graph.`)
  root.replaceChildren(
    el(
      'article',
      { class: 'start' },
      up,
      el('h1', {}, 'Start a run'),
      slug && !isKnown
        ? el('p', { class: 'warning', role: 'alert' }, `There is no flow “${plain(slug)}”, or none that you may run.`)
        : null,
      el(
        'div',
        { class: 'look' },
        el(
          'form',
          { onsubmit: submit },
          el('label', { for: 'flow' }, 'Flow'),
          choose,
          chosen.description ? el('p', { class: 'note' }, plain(chosen.description)) : null,
          el('label', { for: 'payload' }, 'Payload'),
          payload,
          el('p', { class: 'note', id: 'payload-hint' }, 'Any JSON; an array if the flow begins with a map.'),
          el('label', { for: 'key' }, 'Key'),
          key,
          el(
            'p',
            { class: 'note', id: 'key-hint' },
            'A name of your own for the run, such as a customer or an order. May be empty.',
          ),
          told,
          el('p', { class: 'buttons' }, button),
        ),
        drawing.node,
      ),
    ),
  )
}

// crypto.randomUUID() is there for https and localhost only; this is everywhere.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
}
