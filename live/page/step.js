// The details of a step: how it is defined, its error, what went in and came out, and each attempt at it.

import { ask } from './api.js'
import { repeat } from './connection.js'
import { arrange, attribute, el, longText, setStatus, setTime, setTook, statusBadge, text } from './dom.js'
import { jsonBox } from './json.js'
import { count, number, plain } from './words.js'

const PAGE = 50

/** The details of one step. `reveal(slug)` goes to another one. `show(state)` fills them from what get_run returns. */
export function stepDetails(runId, slug, { signal: all, reveal }) {
  const closing = new AbortController()
  const signal = AbortSignal.any([all, closing.signal])
  const facts = el('p', { class: 'definition' })
  const failure = el('div', { class: 'failure', hidden: true })
  const input = jsonBox('Input', () => `${runId}-${slug}-input`)
  const output = jsonBox('Output', () => `${runId}-${slug}-output`)
  const attempts = attemptTable(runId, slug, signal)
  const node = el(
    'div',
    { class: 'of-step' },
    facts,
    failure,
    el('div', { class: 'values' }, input.node, output.node),
    attempts.node,
  )

  let shownFacts = ''
  let shownError = null
  const show = (state) => {
    const step = state.steps.find((one) => one.step_slug === slug)
    const definition = factsOf(step)
    if (definition.join() !== shownFacts) {
      shownFacts = definition.join()
      const deps = step.deps_slugs.map((dep) =>
        el('button', { type: 'button', class: 'dep', onclick: () => reveal(dep) }, dep),
      )
      facts.replaceChildren(
        ...definition.map((words) => el('span', {}, words)),
        ...(deps.length ? [el('span', {}, 'after ', ...deps)] : []),
      )
    }
    if (step.error_message !== shownError) {
      shownError = step.error_message
      failure.hidden = !shownError
      failure.replaceChildren(...(shownError ? [longText(shownError)] : []))
    }
    attribute(failure, 'data-status', step.status)
    const given = inputOf(state, step)
    input.show(given.value, given.version, 'None yet')
    const isOver = ['completed', 'failed', 'skipped', 'cancelled'].includes(step.status)
    output.show(
      step.status === 'completed' ? step.output : undefined,
      `${step.status} ${step.finished_at}`,
      isOver ? 'None' : 'None yet',
    )
    attempts.show(step)
  }
  return { node, show, close: () => closing.abort() }
}

function factsOf(step) {
  const words = [step.step_type === 'map' ? `map, ${step.executor}` : step.executor]
  if (step.executor === 'worker' || step.queue) words.push(`queue ${plain(step.queue)}`)
  if (step.start_mode === 'manual') words.push('started by hand')
  if (step.map_over) words.push(`a task for each element of ${step.map_over}`)
  if (step.skip_reason) words.push(`skipped: ${step.skip_reason.replaceAll('_', ' ')}`)
  if (step.remaining_deps > 0) words.push(`waits for ${count(step.remaining_deps, 'dep')}`)
  return words
}

/**
 * What the step was given: the run's payload and the outputs of its completed deps, as its worker gets them; of a map the array
 * whose elements its tasks get. The version changes when the value may have.
 */
function inputOf(state, step) {
  if (!step.started_at) return { value: undefined, version: 'none' }
  const deps = step.deps_slugs
    .map((dep) => state.steps.find((one) => one.step_slug === dep))
    .filter((dep) => dep?.status === 'completed')
  const version = [step.started_at, ...deps.map((dep) => `${dep.step_slug} ${dep.finished_at}`)].join()
  if (step.step_type !== 'map') {
    return {
      value: { run: state.run.payload, ...Object.fromEntries(deps.map((dep) => [dep.step_slug, dep.output])) },
      version,
    }
  }
  if (step.deps_slugs.length === 0) return { value: state.run.payload, version }
  const source = step.map_over ?? step.deps_slugs[0]
  return { value: deps.find((dep) => dep.step_slug === source)?.output ?? [], version }
}

// Attempts are read a page at a time: a map may have a million. Steps that end without any are said to have none.
function attemptTable(runId, slug, signal) {
  const title = el('h3', {}, 'Attempts')
  const failedOnly = el('input', { type: 'checkbox', onchange: () => again() })
  const choice = el('label', { class: 'choice', hidden: true }, failedOnly, 'Failed only')
  const body = el('tbody', {})
  const note = el('p', { class: 'note' })
  const more = el(
    'button',
    { type: 'button', class: 'small', hidden: true, onclick: () => ((pages += 1), refresh()) },
    'More',
  )
  const table = el(
    'table',
    { class: 'tries', hidden: true },
    el(
      'thead',
      {},
      el(
        'tr',
        {},
        ...['Task', 'Attempt', 'Status', 'Worker', 'Queued', 'Started', 'Took'].map((name) =>
          el('th', { scope: 'col', class: name.toLowerCase() }, name),
        ),
      ),
    ),
    body,
  )
  const node = el(
    'section',
    { class: 'attempts-of-step' },
    el('div', { class: 'bar' }, title, choice),
    table,
    note,
    more,
  )

  let pages = 1
  let step = null
  let known = ''
  const rows = new Map()
  const again = () => {
    pages = 1
    refresh()
  }

  const row = (task) => {
    const id = `${task.task_index} ${task.attempt}`
    let found = rows.get(id)
    if (!found) {
      const badge = statusBadge(task.status)
      const worker = el('bdi', {})
      const queued = el('time', {})
      const started = el('time', {})
      const took = el('span', {})
      const line = el(
        'tr',
        {},
        el('td', { class: 'task' }, number(task.task_index)),
        el('td', { class: 'attempt' }, number(task.attempt)),
        el('td', { class: 'status' }, badge),
        el('td', { class: 'worker' }, worker),
        el('td', { class: 'queued' }, queued),
        el('td', { class: 'started' }, started),
        el('td', { class: 'took' }, took),
      )
      found = { nodes: [line], line, badge, worker, queued, started, took, error: null }
      rows.set(id, found)
    }
    setStatus(found.badge, task.status)
    text(found.worker, task.worker_id ? plain(task.worker_id) : '–')
    attribute(found.worker, 'title', task.worker_id ? plain(task.worker_id) : null)
    setTime(found.queued, task.queued_at)
    setTime(found.started, task.started_at)
    setTook(found.took, task.started_at, task.status === 'started' ? null : (task.finished_at ?? task.started_at))
    if (task.error_message && found.error !== task.error_message) {
      found.error = task.error_message
      const told = el('tr', { class: 'told' }, el('td', { colspan: 7 }, longText(task.error_message, 600)))
      found.line.classList.add('has-error')
      found.nodes = [found.line, told]
    }
    return found
  }

  const task = async () => {
    const asked = { known: `${step?.attempts} ${step?.status}`, failed: failedOnly.checked, pages }
    const found = []
    let hasMore = false
    let last
    for (let page = 0; page < asked.pages; page += 1) {
      const some = await ask(`runs/${encodeURIComponent(runId)}/tasks`, {
        query: {
          step_slug: slug,
          limit: PAGE + 1,
          after_task: last?.task_index,
          after_attempt: last?.attempt,
          failed: asked.failed || undefined,
        },
        signal,
      })
      hasMore = some.length > PAGE
      found.push(...some.slice(0, PAGE))
      if (!hasMore) break
      last = found[found.length - 1]
    }
    known = asked.known
    arrange(
      body,
      found.flatMap((one) => row(one).nodes),
    )
    table.hidden = found.length === 0
    table.classList.toggle('single', step?.step_type !== 'map')
    more.hidden = !hasMore
    text(note, found.length > 0 ? '' : asked.failed ? 'No failed attempt.' : 'None.')
    note.hidden = found.length > 0
  }
  const refused = (error) => {
    note.hidden = false
    text(note, `Not to be had: ${plain(error.message)}`)
  }
  const refresh = repeat(`attempts of ${slug}`, task, {
    signal,
    every: () => (step?.status === 'started' ? 3000 : Infinity),
    refused,
  })

  const show = (now) => {
    step = now
    choice.hidden = !(step.attempts > PAGE / 2 && step.failed_attempts > 0)
    text(title, step.attempts ? count(step.attempts, 'attempt') : 'Attempts')
    if (known !== `${step.attempts} ${step.status}`) refresh()
  }
  return { node, show }
}
