// The page: a list of runs and, beside it, one of them, or the form that starts one. What is shown stands in the address.

import { address, readAddress } from './address.js'
import { ask } from './api.js'
import { repeat } from './connection.js'
import { attribute, el, text } from './dom.js'
import { runPage } from './run.js'
import { runList } from './runs.js'
import { me, onSession, setMe, setToken, takeTokenOfAddress, token } from './session.js'
import { startPage } from './start.js'
import { plain, when } from './words.js'

const pane = document.getElementById('pane')
const listRoot = document.getElementById('list')
const who = document.getElementById('who')
const dialog = document.getElementById('token-dialog')
const field = document.getElementById('token')

const go = (hash) => location.assign(hash)

// All that was begun for a token ends with it, and all that was begun for an address with that.
let session = new AbortController()
let visit = new AbortController()
let list = null
let shownPath = null
// Where the list was left, on a screen that has no room for it beside a run.
let listTop = 0

function begin() {
  session.abort()
  session = new AbortController()
  shownPath = null
  const { signal } = session
  list = runList(listRoot, { go: (query) => go(address(currentPath(), query)), signal })
  const askMe = async () => setMe(await ask('me', { signal }))
  repeat('me', askMe, { signal, every: () => 60_000, refused: () => setMe(null) })
  showWho()
  show()
}

// A change of the filters leaves the run that is open where it is.
function currentPath() {
  const path = location.hash.replace(/^#/, '').split('?')[0]
  return path || '/'
}

function show() {
  const route = readAddress(location.hash)
  list.show(route)
  const path = currentPath()
  if (path === shownPath) {
    // Only the filters are others. What is open stays open, and its links carry them.
    for (const link of pane.querySelectorAll('a[href^="#/"]')) {
      attribute(link, 'href', address(link.getAttribute('href').slice(1).split('?')[0], route.query))
    }
    return
  }
  shownPath = path
  visit.abort()
  visit = new AbortController()
  const signal = AbortSignal.any([visit.signal, session.signal])
  const leavesList = document.body.dataset.page === 'list'
  if (leavesList) listTop = window.scrollY
  document.body.dataset.page = route.name
  pane.scrollTop = 0
  window.scrollTo(0, route.name === 'list' ? listTop : 0)
  // What had the focus is hidden now.
  if (listRoot.offsetParent === null && leavesList) pane.focus({ preventScroll: true })
  attribute(document.getElementById('start-link'), 'aria-current', route.name === 'start' ? 'page' : null)
  document.title = 'pgflow'
  if (route.name === 'run') runPage(pane, route.run, { query: route.query, moved: list.refresh, signal })
  else if (route.name === 'start') {
    document.title = 'Start a run · pgflow'
    startPage(pane, route.flow, { query: route.query, go, signal })
  } else if (route.name === 'list') pane.replaceChildren(welcome(route.query))
  else
    pane.replaceChildren(
      el(
        'section',
        { class: 'refusal' },
        el('h2', {}, 'No such page'),
        el('p', {}, el('a', { href: '#/' }, 'All runs')),
      ),
    )
}

function welcome(query) {
  return el(
    'div',
    { class: 'welcome' },
    el('p', {}, 'Choose a run to see it here as it goes on,'),
    el('p', {}, 'or ', el('a', { href: address('/start', query) }, 'start one'), '.'),
  )
}

function showWho() {
  const name = token() ? plain(me?.sub ?? me?.role ?? 'Token') : 'No token'
  who.replaceChildren(el('bdi', {}, name))
  if (me?.manages_runs) who.append(el('span', { class: 'badge' }, 'manages runs'))
  const expires = me?.expires_at ? `, until ${when(me.expires_at * 1000)}` : ''
  const known = me
    ? `The server takes you for role ${plain(me.role)}${me.sub ? `, ${plain(me.sub)}` : ''}${expires}.`
    : ''
  text(
    document.getElementById('token-who'),
    known || (token() ? 'The server does not accept the token.' : 'You have no token.'),
  )
}

onSession('me', showWho)
onSession('token', begin)

who.addEventListener('click', () => {
  showWho()
  field.value = ''
  dialog.showModal()
})
document.getElementById('token-form').addEventListener('submit', (event) => {
  event.preventDefault()
  dialog.close()
  if (field.value.trim()) setToken(field.value)
  field.value = ''
})
document.getElementById('token-none').addEventListener('click', () => {
  dialog.close()
  setToken(null)
})
document.getElementById('token-close').addEventListener('click', () => dialog.close())
document.getElementById('skip').addEventListener('click', (event) => {
  // The address stays: it says which run is shown.
  event.preventDefault()
  pane.focus()
})
window.addEventListener('hashchange', () => {
  if (!takeTokenOfAddress()) show()
})

if (!takeTokenOfAddress()) begin()
