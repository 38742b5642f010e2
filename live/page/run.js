// One run: what it is, its picture, what went in and came out, its steps, its parent and children; as it stands, and as it
// goes on.

import { actions } from './actions.js'
import { address } from './address.js'
import { ask } from './api.js'
import { repeat } from './connection.js'
import { announce, arrange, attribute, el, longText, setStatus, setTime, setTook, statusBadge, text } from './dom.js'
import { watch } from './events.js'
import { jsonBox, written } from './json.js'
import { picture } from './picture.js'
import { refusal } from './refusal.js'
import { onSession } from './session.js'
import { prepare } from './start.js'
import { stepTable } from './steps.js'
import { between, count, number, plain } from './words.js'

const SIGNS = { pending: '○', started: '▶', completed: '✓', failed: '✗', cancelled: '⊘' }
const MOST_CHILDREN = 60

/** Whether a run or step with this status goes on. */
const isOpen = (status) => status === 'pending' || status === 'started'

/** Shows a run in `root`. `query` are the filters of the list, for links; `moved()` is called when its status is another. */
export function runPage(root, runId, { query, moved, signal }) {
  let state = null
  let page = null
  // What has been told since the state was asked for, which may not know of it.
  let news = []
  let coming = null

  const show = () => {
    if (!page) {
      page = build(runId, { query, signal, refresh: () => refresh(), retry: () => again() })
      root.replaceChildren(page.node)
    }
    page.show(state)
  }

  // What has been shown last, to tell what is new.
  let shownState = null
  const present = () => {
    show()
    if (tellReaders(shownState, state)) moved()
    shownState = { run: { ...state.run }, steps: state.steps.map(({ step_slug, status }) => ({ step_slug, status })) }
  }
  const take = (fresh) => {
    state = fresh
    present()
    page.warn(null)
  }

  // The events tell of runs and steps, and not of tasks and attempts: so while the run goes on it is asked for anyway.
  const refresh = repeat(
    'run',
    async () => {
      if (isRefused) return
      news = []
      const fresh = await ask('rpc/get_run', { query: { run_id: runId }, signal })
      for (const message of news) apply(fresh, message)
      take(fresh)
    },
    {
      signal,
      // The first state comes with the events, but not where a proxy collects them until there are many.
      delay: 1500,
      every: () => (isRefused || (state && !isOpen(state.run.status)) ? Infinity : 3000),
      refused: (error) => fail(error),
    },
  )

  // What the server will not tell, it will not tell in three seconds either; what goes wrong in it may go right then.
  let isRefused = false
  let isListening = false
  const fail = (error) => {
    if (isRefused) return
    isRefused = error.status < 500
    if (page) page.warn(error)
    else root.replaceChildren(refusal(error, 'run', again))
  }
  const again = () => {
    isRefused = false
    if (page) page.warn(null)
    else root.replaceChildren(waiting())
    listen()
    refresh()
  }

  const heard = (event, data) => {
    if (event === 'state') {
      // The first picture comes by itself.
      if (page) page.redraw()
      take(data)
    } else if (event === 'change' && state) {
      news.push(data)
      apply(state, data)
      page.redraw()
      refresh()
      // Messages come in bunches: they are shown at once.
      coming ??= setTimeout(() => {
        coming = null
        if (!signal.aborted) present()
      }, 30)
    }
  }
  const listen = async () => {
    if (isListening) return
    isListening = true
    await watch(runId, { heard, refused: fail, signal })
    isListening = false
  }

  root.replaceChildren(waiting())
  listen()
  onSession('me', () => page?.actions.show(), signal)
}

const waiting = () => el('p', { class: 'note waiting-run', role: 'status' }, 'Looking for the run…')

/**
 * Changes a state as one message says. Messages may be told twice and be older than the state: what has ended does not go on
 * again by them. When a run was retried, the state itself, which is asked for after each message, says so.
 */
function apply(state, message) {
  const target = message.step_slug ? state.steps.find((step) => step.step_slug === message.step_slug) : state.run
  if (!target) return
  if (!isOpen(target.status) && isOpen(message.status)) return
  target.status = message.status
  for (const field of ['started_at', 'finished_at', 'output', 'error_message', 'skip_reason']) {
    if (message[field] !== undefined) target[field] = message[field]
  }
}

/** Has screen readers say what matters: how the run goes, and which steps fail. Returns whether the run has another status. */
function tellReaders(before, now) {
  if (!before) return false
  const said = []
  const had = new Map(before.steps.map((step) => [step.step_slug, step.status]))
  for (const step of now.steps) {
    if (step.status === 'failed' && had.get(step.step_slug) !== 'failed') said.push(`Step ${step.step_slug} failed.`)
  }
  if (before.run.status !== now.run.status) {
    const took = isOpen(now.run.status) ? null : between(now.run.started_at, now.run.finished_at)
    said.push(`The run is ${now.run.status}${took ? ` after ${took}` : ''}.`)
  }
  if (said.length) announce(said.slice(0, 4).join(' '))
  return before.run.status !== now.run.status
}

function build(runId, { query, signal, refresh, retry }) {
  const badge = statusBadge('pending')
  const slug = el('bdi', { class: 'slug' })
  const version = el('span', { class: 'version' })
  const act = actions(runId, { done: refresh, signal })
  const again = el('a', { class: 'again' }, 'Run again…')
  const warning = el('div', {})
  const facts = el('dl', { class: 'facts' })
  const failure = el('section', { class: 'failure', 'aria-label': 'Error', hidden: true })
  let isLive = true
  const drawing = picture(
    'rpc/run_svg',
    { run_id: runId },
    { name: 'picture', every: () => (isLive ? 5000 : Infinity), signal },
  )
  const payload = jsonBox('Payload', () => `${runId}-payload`)
  const output = jsonBox('Output', () => `${runId}-output`)
  const steps = stepTable(runId, { query, signal })
  const childList = el('ul', { class: 'children' })
  const allChildren = el('button', {
    type: 'button',
    class: 'small',
    onclick: () => ((showsAll = true), showChildren()),
  })
  const childTitle = el('h2', {}, 'Child runs')
  const childSection = el('section', { hidden: true }, childTitle, childList, allChildren)
  const node = el(
    'article',
    { class: 'run' },
    el('p', { class: 'up' }, el('a', { href: address('/', query) }, '← Runs')),
    el('header', {}, el('h1', {}, slug, version, badge), el('div', { class: 'does' }, again, act.node)),
    warning,
    facts,
    failure,
    el('div', { class: 'look' }, drawing.node, el('div', { class: 'values' }, payload.node, output.node)),
    steps.node,
    childSection,
  )

  // Facts stand in the order in which they are first made; those that a run has not are hidden.
  const rows = new Map()
  const fact = (name, make) => {
    let row = rows.get(name)
    if (!row) {
      const value = make()
      row = { value, node: el('div', {}, el('dt', {}, name), el('dd', {}, value)) }
      rows.set(name, row)
      facts.append(row.node)
    }
    return row
  }
  const textFact = (name, value, className) => {
    const row = fact(name, () => el('bdi', { class: className }))
    row.node.hidden = value === null || value === undefined || value === ''
    text(row.value, row.node.hidden ? '' : plain(value))
  }
  const timeFact = (name, value) => {
    const row = fact(name, () => el('time', {}))
    row.node.hidden = !value
    setTime(row.value, value)
  }

  const link = (id, words) => el('a', { class: 'id', href: address(`/runs/${id}`, query) }, words ?? id)

  let showsAll = false
  let children = []
  let childCount = 0
  const childRows = new Map()
  const showChildren = () => {
    childSection.hidden = childCount === 0
    text(childTitle, childCount === 1 ? 'Child run' : `${number(childCount)} child runs`)
    const some = showsAll ? children : children.slice(0, MOST_CHILDREN)
    arrange(
      childList,
      some.map((child) => {
        let row = childRows.get(child.run_id)
        if (!row) {
          const mark = statusBadge(child.status)
          const where = plain(
            `${child.parent_step_slug}${child.parent_task_index ? ` ${child.parent_task_index}` : ''}`,
          )
          const anchor = el(
            'a',
            { href: address(`/runs/${child.run_id}`, query) },
            mark,
            el('bdi', { class: 'slug' }, plain(child.flow_slug)),
            el('span', { class: 'of' }, `for ${where}`),
          )
          row = { mark, node: el('li', {}, anchor) }
          childRows.set(child.run_id, row)
        }
        setStatus(row.mark, child.status)
        return row.node
      }),
    )
    allChildren.hidden = showsAll || children.length <= MOST_CHILDREN
    text(
      allChildren,
      childCount > children.length
        ? `Show the first ${number(children.length)}`
        : `Show all ${number(children.length)}`,
    )
  }

  let shownError = null
  const show = (state) => {
    const { run } = state
    isLive = isOpen(run.status)
    setStatus(badge, run.status)
    text(slug, plain(run.flow_slug))
    text(version, `version ${run.flow_version}`)
    document.title = `${SIGNS[run.status] ?? ''} ${run.flow_slug} · pgflow`
    act.show(run.status)
    attribute(again, 'href', address(`/start/${encodeURIComponent(run.flow_slug)}`, query))
    again.onclick = () => prepare(written(run.payload), run.key)

    textFact('Run', run.run_id, 'id')
    textFact('Key', run.key)
    timeFact('Created', run.created_at)
    timeFact('Starts at', run.status === 'pending' ? run.start_at : null)
    timeFact('Started', run.started_at)
    timeFact('Ended', run.finished_at)
    const took = fact('Took', () => el('span', {}))
    took.node.hidden = !run.started_at
    setTook(took.value, run.started_at, isLive ? null : (run.finished_at ?? run.started_at))
    textFact('For', run.created_for)
    textFact('By', run.created_by)
    textFact('Priority', run.priority ? run.priority : null)
    if (run.parent_run_id) {
      const name = run.parent_step_slug ? 'Child of' : 'Fork of'
      const index = run.parent_task_index ? ` ${run.parent_task_index}` : ''
      const words = run.parent_step_slug
        ? `step ${run.parent_step_slug}${index} of ${run.parent_run_id}`
        : run.parent_run_id
      fact(name, () => link(run.parent_run_id, plain(words)))
    }

    if (run.error_message !== shownError) {
      shownError = run.error_message
      failure.hidden = !shownError
      failure.replaceChildren(...(shownError ? [longText(shownError)] : []))
    }
    attribute(failure, 'data-status', run.status)
    payload.show(run.payload, runId)
    const hasOutput = run.status === 'completed'
    output.show(hasOutput ? run.output : undefined, `${run.status} ${run.finished_at}`, isLive ? 'None yet' : 'None')

    const done = state.steps.filter((step) => step.status === 'completed').length
    drawing.describe(
      `The run as a graph: ${run.status}, ${done} of ${count(state.steps.length, 'step')} completed. The table of steps says the same in words.`,
    )
    steps.show(state)
    children = state.children
    childCount = state.children_count
    showChildren()
  }
  const warn = (error) => {
    if (error || warning.firstChild) warning.replaceChildren(...(error ? [refusal(error, 'run', retry)] : []))
  }
  return { node, show, warn, redraw: drawing.refresh, actions: act }
}
