// What stands in place of what the server will not tell, and what to do about it.

import { Refused } from './api.js'
import { el } from './dom.js'
import { token } from './session.js'
import { plain } from './words.js'

/** What a refusal means to who reads it: a title, and what to do. */
function meaning(error, what) {
  if (error.status === 401) {
    return token()
      ? ['This token is not accepted', 'It may have run out. Get a new one, and use it here.']
      : ['Not signed in', 'Without a token the server does not show this.']
  }
  if (error.status === 403) {
    return [
      'Not allowed',
      'The role of your token was not granted this. pgflow.grant_access() makes it a client or an operator.',
    ]
  }
  if (error.status === 404) return [`No such ${what}`, `There is none, or none that you may see.`]
  if (error instanceof Refused && error.status < 500) return ['Refused', null]
  return ['Something went wrong', 'The log of the server knows more.']
}

/** The words of an error itself: its message, and under it details and hint. */
export function errorWords(error) {
  const lines = [error.details, error.hint].filter(Boolean)
  return el(
    'div',
    { class: 'told' },
    el('p', { class: 'message' }, plain(error.message), error.code ? el('span', { class: 'code' }, error.code) : null),
    ...lines.map((line) => el('p', { class: 'more' }, plain(line))),
  )
}

/** A panel about an error, for `what` was asked for; `again`, if given, asks once more. */
export function refusal(error, what, again) {
  const [title, advice] = meaning(error, what)
  const wantsToken = error.status === 401 || error.status === 403
  const openDialog = () => document.getElementById('who').click()
  return el(
    'section',
    { class: 'refusal', role: 'alert' },
    el('h2', {}, title),
    advice ? el('p', {}, advice) : null,
    errorWords(error),
    el(
      'p',
      { class: 'buttons' },
      wantsToken ? el('button', { type: 'button', class: 'main', onclick: openDialog }, 'Enter a token') : null,
      again ? el('button', { type: 'button', onclick: again }, 'Try again') : null,
    ),
  )
}
