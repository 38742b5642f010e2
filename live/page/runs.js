// The list of runs: newest first, filtered by flow and status, a page at a time, asked for again every two seconds.

import { ask } from './api.js'
import { repeat } from './connection.js'
import { arrange, attribute, el, setStatus, setTime, setTook, statusBadge, text } from './dom.js'
import { refusal } from './refusal.js'
import { address } from './address.js'
import { onSession, me } from './session.js'
import { plain } from './words.js'

const PAGE = 50
const STATUSES = ['pending', 'started', 'completed', 'failed', 'cancelled']

/**
 * Fills the list. `show(route)` tells it which filters and which run are in the address; `go(query)` is called with the
 * filters that the reader chooses. `refresh()` asks at once.
 */
export function runList(root, { go, signal }) {
  const flow = el('select', { onchange: () => choose() }, el('option', { value: '' }, 'All flows'))
  const status = el('select', { onchange: () => choose() }, el('option', { value: '' }, 'Any status'))
  for (const name of STATUSES) status.append(el('option', { value: name }, name))
  const choose = () => go({ flow: flow.value, status: status.value })

  const list = el('ol', { class: 'runs' })
  const message = el('div', { class: 'message-of-list' })
  const newest = el('a', { hidden: true }, '← Newest')
  const older = el('a', { hidden: true }, 'Older →')
  root.replaceChildren(
    el('h2', { class: 'unseen' }, 'Runs'),
    el(
      'form',
      { class: 'filters', onsubmit: (event) => event.preventDefault() },
      el('label', {}, el('span', { class: 'unseen' }, 'Flow'), flow),
      el('label', {}, el('span', { class: 'unseen' }, 'Status'), status),
    ),
    list,
    message,
    el('nav', { class: 'paging', 'aria-label': 'Pages of runs' }, newest, older),
  )

  const rows = new Map()
  let query = {}
  let openRun = null
  let flows = null
  let isThere = false
  let oldest = null

  const row = (run) => {
    let found = rows.get(run.run_id)
    if (!found) {
      const badge = statusBadge(run.status)
      const slug = el('bdi', { class: 'slug' }, plain(run.flow_slug))
      const made = el('time', {})
      const key = el('bdi', { class: 'key' })
      const took = el('span', { class: 'took' })
      const error = el('span', { class: 'error' })
      const link = el('a', {}, badge, slug, made, key, took, error)
      found = { node: el('li', {}, link), link, badge, made, key, took, error }
      rows.set(run.run_id, found)
    }
    setStatus(found.badge, run.status)
    setTime(found.made, run.created_at)
    // Ids begin with the time: what tells them apart at a glance is the end.
    const hasKey = run.key !== null && run.key !== undefined
    text(found.key, hasKey ? plain(run.key) : `…${run.run_id.slice(-12)}`)
    found.key.classList.toggle('id', !hasKey)
    setTook(found.took, run.started_at, run.finished_at ?? (run.status === 'started' ? null : run.started_at))
    if (!run.started_at) text(found.took, run.status === 'pending' ? 'waits' : '')
    text(found.error, run.status === 'failed' && run.error_message ? plain(run.error_message).slice(0, 200) : '')
    attribute(found.node, 'data-status', run.status)
    return found
  }

  // The run that is open stays open.
  const here = () => (openRun ? `/runs/${encodeURIComponent(openRun)}` : '/')
  const mark = () => {
    for (const [id, { link }] of rows) {
      attribute(link, 'aria-current', id === openRun ? 'true' : null)
      attribute(link, 'href', address(`/runs/${id}`, query))
    }
    attribute(newest, 'href', address(here(), { ...query, before: '' }))
    if (oldest) attribute(older, 'href', address(here(), { ...query, before: oldest }))
  }

  const empty = () => {
    if (query.flow || query.status || query.before) {
      const back = el('a', { href: address(here(), {}) }, 'Show all runs')
      const words = query.before ? 'No older runs.' : 'No run is like that.'
      return el('div', { class: 'empty' }, el('p', {}, words), el('p', {}, back))
    }
    if (flows?.length) {
      const slug = flows[0].flow_slug
      return el(
        'div',
        { class: 'empty' },
        el('p', {}, 'No runs yet.'),
        el(
          'p',
          {},
          el('a', { href: address(`/start/${encodeURIComponent(slug)}`, query) }, 'Start one'),
          ', or in psql:',
        ),
        el('pre', { class: 'hint' }, `SELECT pgflow.run_flow('${plain(slug)}');`),
        me && !me.manages_runs ? el('p', { class: 'note' }, 'You see the runs that are yours.') : null,
      )
    }
    return el(
      'div',
      { class: 'empty' },
      el('p', {}, 'No runs yet, and no flow that you may run.'),
      el('p', {}, 'Define one in psql:'),
      el(
        'pre',
        { class: 'hint' },
        `SELECT * FROM pgflow.define_flow('{\n  "flow_slug": "hello",\n  "steps": [{"step_slug": "greet"}]\n}');`,
      ),
      el('p', { class: 'note' }, 'Or have its owner let you: pgflow.grant_run().'),
    )
  }

  let told = null
  const task = async () => {
    const asked = query
    const found = await ask('runs', {
      query: { flow_slug: asked.flow, status: asked.status, before: asked.before, limit: PAGE + 1 },
      signal,
    })
    if (asked !== query) return refresh()
    isThere = true
    const hasOlder = found.length > PAGE
    const page = found.slice(0, PAGE)
    const ids = new Set(page.map((run) => run.run_id))
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id)
    arrange(
      list,
      page.map((run) => row(run).node),
    )
    list.hidden = page.length === 0
    if (page.length === 0) {
      if (told !== 'empty' || !flows) message.replaceChildren(empty())
      told = flows ? 'empty' : null
    } else {
      message.replaceChildren()
      told = null
    }
    older.hidden = !hasOlder
    oldest = hasOlder ? page[PAGE - 1].run_id : null
    newest.hidden = !query.before
    mark()
    root.classList.remove('asking')
  }
  const refused = (error) => {
    root.classList.remove('asking')
    const words = `${error.status} ${error.message}`
    if (told === words) return
    told = words
    list.hidden = true
    older.hidden = true
    message.replaceChildren(refusal(error, 'list', refresh))
  }
  root.classList.add('asking')
  const refresh = repeat('list', task, { signal, every: () => (told && told !== 'empty' ? 10_000 : 2000), refused })

  // Flows change seldom.
  const askFlows = async () => {
    flows = await ask('flows', { signal })
    const names = [...new Set(flows.map((one) => one.flow_slug))].sort()
    if (query.flow && !names.includes(query.flow)) names.push(query.flow)
    const had = [...flow.options].slice(1).map((option) => option.value)
    if (names.join('\n') === had.join('\n')) return
    flow.replaceChildren(
      el('option', { value: '' }, 'All flows'),
      ...names.map((name) => el('option', { value: name }, plain(name))),
    )
    flow.value = query.flow ?? ''
    if (isThere && rows.size === 0) refresh()
  }
  repeat('flows', askFlows, { signal, every: () => 30_000, refused: () => {} })
  onSession('me', () => rows.size === 0 && refresh(), signal)

  const show = (route) => {
    const { flow: name = '', status: state = '', before = '' } = route.query
    openRun = route.run ?? null
    const changed = name !== (query.flow ?? '') || state !== (query.status ?? '') || before !== (query.before ?? '')
    if (changed || Object.keys(query).length === 0) {
      query = { flow: name, status: state, before }
      told = null
      if (changed) root.scrollTop = 0
      root.classList.add('asking')
      refresh()
    }
    if (name && ![...flow.options].some((option) => option.value === name))
      flow.append(el('option', { value: name }, plain(name)))
    flow.value = name
    status.value = state
    mark()
  }
  return { show, refresh }
}
