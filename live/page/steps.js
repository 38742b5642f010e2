// The steps of a run as a table. Each row opens to the details of its step.

import { arrange, attribute, el, setStatus, setTime, setTook, shape, statusBadge, text } from './dom.js'
import { stepDetails } from './step.js'
import { count, now, number, plain } from './words.js'

const STATUSES = ['failed', 'started', 'pending', 'completed', 'skipped', 'cancelled']
// With fewer steps there is nothing to look for.
const MANY = 12
// A flow may have 20,000 steps: so many are in the table at first, and with each press of a button.
const PAGE = 500

/** The table, for a run with this id. `show(state)` fills it from what get_run returns. */
export function stepTable(runId, { query, signal }) {
  const title = el('h2', {}, 'Steps')
  const chips = el('div', { class: 'chips', role: 'group', 'aria-label': 'Show steps by status' })
  const find = el('input', {
    type: 'search',
    placeholder: 'Find a step',
    'aria-label': 'Find a step',
    autocomplete: 'off',
    spellcheck: 'false',
  })
  const body = el('tbody', {})
  const none = el('p', { class: 'note', hidden: true }, 'No step is like that.')
  const rest = el('button', { type: 'button', class: 'small', hidden: true, onclick: () => ((most += PAGE), place()) })
  const head = ['Step', 'Status', 'Attempts', 'Started', 'Took', 'Timeline']
  const table = el(
    'table',
    { class: 'steps' },
    el('thead', {}, el('tr', {}, ...head.map((name) => el('th', { scope: 'col', class: name.toLowerCase() }, name)))),
    body,
  )
  const node = el(
    'section',
    { class: 'steps-of-run' },
    el('div', { class: 'bar' }, title, chips, find),
    table,
    none,
    rest,
  )

  let state = null
  let only = null
  let most = PAGE
  const rows = new Map()
  find.addEventListener('input', () => place())
  document.addEventListener('tick', () => state && !state.run.finished_at && drawTimes(), { signal })

  const chipOf = new Map(
    STATUSES.map((status) => {
      const label = el('span', {})
      const press = () => {
        only = only === status ? null : status
        place()
      }
      const chip = el(
        'button',
        { type: 'button', class: 'chip', 'data-status': status, 'aria-pressed': 'false', onclick: press },
        shape(status),
        label,
      )
      return [status, { chip, label }]
    }),
  )

  const row = (step) => {
    let found = rows.get(step.step_slug)
    if (found) return found
    const badge = statusBadge(step.status)
    const arrow = shape('chevron')
    const open = el(
      'button',
      { type: 'button', class: 'open', 'aria-expanded': 'false' },
      arrow,
      el('bdi', { class: 'slug' }, plain(step.step_slug)),
    )
    const kind = el('span', { class: 'kind' })
    const error = el('div', { class: 'error' })
    const attempts = el('td', { class: 'attempts' })
    const started = el('time', {})
    const took = el('span', {})
    const bar = el('span', { class: 'span' })
    const line = el(
      'tr',
      { class: 'step' },
      el('th', { scope: 'row', class: 'step' }, el('div', { class: 'name' }, open, kind), error),
      el('td', { class: 'status' }, badge),
      attempts,
      el('td', { class: 'started' }, started),
      el('td', { class: 'took' }, took),
      el('td', { class: 'timeline' }, bar),
    )
    const cell = el('td', { colspan: columns })
    const more = el('tr', { class: 'details' }, cell)
    found = { line, more, badge, open, kind, error, attempts, started, took, bar, details: null, step }
    // Whatever is in the row opens it, but who selects text in it wants something else.
    const toggle = () => {
      if (found.details) {
        found.details.close()
        found.details = null
        more.remove()
      } else {
        found.details = stepDetails(runId, step.step_slug, { query, signal, reveal })
        cell.replaceChildren(found.details.node)
        found.details.show(state)
        line.after(more)
      }
      attribute(open, 'aria-expanded', String(Boolean(found.details)))
      line.classList.toggle('is-open', Boolean(found.details))
    }
    found.toggle = toggle
    line.addEventListener(
      'click',
      (event) => (open.contains(event.target) || String(getSelection()) === '') && toggle(),
    )
    rows.set(step.step_slug, found)
    return found
  }

  // Columns for which there is no room are hidden; the details are as wide as those that are left.
  let columns = head.length
  const measure = new ResizeObserver(() => {
    const left = [...table.tHead.rows[0].cells].filter((one) => one.offsetParent !== null).length
    if (left === 0 || left === columns) return
    columns = left
    for (const { more } of rows.values()) more.firstChild.colSpan = columns
  })
  measure.observe(node)
  signal.addEventListener('abort', () => measure.disconnect())

  // Opens a step that is named in the details of another one, and goes there.
  const reveal = (slug) => {
    if (!rows.get(slug)?.line.isConnected) {
      only = null
      find.value = state.steps.length > most ? slug : ''
      place()
    }
    const found = rows.get(slug)
    if (!found) return
    if (!found.details) found.toggle()
    found.open.focus({ preventScroll: true })
    found.line.scrollIntoView({ block: 'start', behavior: 'smooth' })
  }

  const kindOf = (step) => {
    const words = []
    if (step.step_type === 'map') words.push('map')
    if (step.executor !== 'worker') words.push(step.executor)
    if (step.step_type === 'map' && step.initial_tasks !== null) {
      const isDone = step.completed_tasks === step.initial_tasks
      const done = isDone ? '' : `${number(step.completed_tasks)} of `
      words.push(`${done}${count(step.initial_tasks, 'task')}`)
    }
    return words.join(' · ')
  }

  const fill = (step) => {
    const found = row(step)
    found.step = step
    setStatus(found.badge, step.status)
    attribute(found.line, 'data-status', step.status)
    text(found.kind, kindOf(step))
    const isReady = step.status === 'pending' && step.remaining_deps === 0 && step.start_mode === 'manual'
    const isAsking = step.status === 'started' && step.executor === 'external'
    const hint = isReady
      ? 'Waits to be started: pgflow.start_step()'
      : isAsking
        ? 'Waits for pgflow.complete_step() or its event'
        : null
    const words = step.error_message ?? hint ?? step.skip_reason?.replaceAll('_', ' ')
    // One line of it; the details have the rest.
    text(found.error, words ? plain(words).slice(0, 300).replace(/\s+/g, ' ') : '')
    found.error.hidden = !words
    text(found.attempts, step.attempts ? number(step.attempts) : '–')
    found.attempts.classList.toggle('retried', step.failed_attempts > 0)
    attribute(found.attempts, 'title', step.failed_attempts ? `${count(step.failed_attempts, 'attempt')} failed` : null)
    setTime(found.started, step.started_at)
    setTook(found.took, step.started_at, step.status === 'started' ? null : (step.finished_at ?? step.started_at))
    found.details?.show(state)
    return found
  }

  // The bars: from when until when a step was at work, within the time of the run.
  const drawTimes = () => {
    const { run } = state
    const begin = Date.parse(run.started_at)
    const end = run.finished_at ? Date.parse(run.finished_at) : now()
    const whole = Math.max(1, end - begin)
    for (const { bar, step } of rows.values()) {
      const from = Date.parse(step.started_at)
      if (Number.isNaN(begin) || Number.isNaN(from)) {
        bar.hidden = true
        continue
      }
      const to = step.finished_at ? Date.parse(step.finished_at) : end
      const left = Math.min(99.5, Math.max(0, ((from - begin) / whole) * 100))
      bar.hidden = false
      const width = Math.min(100 - left, Math.max(0.5, ((to - from) / whole) * 100))
      const place = [`${left.toFixed(1)}%`, `${width.toFixed(1)}%`]
      if (bar.style.left !== place[0]) bar.style.left = place[0]
      if (bar.style.width !== place[1]) bar.style.width = place[1]
    }
  }

  const place = () => {
    const wanted = find.value.trim().toLowerCase()
    const isWanted = (step) =>
      (!only || step.status === only) && (!wanted || step.step_slug.toLowerCase().includes(wanted))
    const listed = state.steps.filter(isWanted)
    const lines = []
    for (const step of listed.slice(0, most)) {
      const found = fill(step)
      lines.push(found.line)
      if (found.details) lines.push(found.more)
    }
    arrange(body, lines)
    drawTimes()
    none.hidden = lines.length > 0 || state.steps.length === 0
    rest.hidden = listed.length <= most
    text(rest, `Show ${number(Math.min(PAGE, listed.length - most))} more of ${number(listed.length - most)}`)
    const shown = []
    for (const [status, { chip, label }] of chipOf) {
      const many = state.steps.filter((step) => step.status === status).length
      text(label, `${number(many)} ${status}`)
      attribute(chip, 'aria-pressed', String(only === status))
      if (many > 0 || only === status) shown.push(chip)
    }
    arrange(chips, shown)
  }

  const show = (fresh) => {
    state = fresh
    text(title, state.steps.length === 0 ? 'No steps' : count(state.steps.length, 'step'))
    table.hidden = state.steps.length === 0
    find.hidden = state.steps.length < MANY
    place()
  }
  return { node, show }
}
