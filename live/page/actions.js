// What operators and authors may do to a run: cancel it and retry it. The server decides; the page only does not offer what it would
// refuse.

import { ask } from './api.js'
import { Lost } from './connection.js'
import { arrange, el, text } from './dom.js'
import { errorWords } from './refusal.js'
import { me } from './session.js'

const CANCEL = {
  name: 'cancel_run',
  title: 'Cancel this run?',
  advice: 'What is unfinished in it is cancelled, and so are its child runs. Results that come later are refused.',
  button: 'Cancel the run',
  done: 'The run was cancelled.',
}
const RETRY = {
  name: 'retry_run',
  title: 'Retry this run?',
  advice: 'Completed and skipped steps stay. What failed or was cancelled is tried again, with all its attempts.',
  button: 'Retry the run',
  done: 'The run was started again.',
}

/** The buttons, and beside them what the server said. `done()` is called when a run was changed. */
export function actions(runId, { done, signal }) {
  const cancel = el('button', { type: 'button', class: 'danger', onclick: () => confirm(CANCEL) }, 'Cancel')
  const retry = el('button', { type: 'button', onclick: () => confirm(RETRY) }, 'Retry')
  const answer = el('div', { class: 'answer', role: 'status' })
  const buttons = el('div', { class: 'buttons' })
  const node = el('div', { class: 'actions' }, buttons, answer)
  let status = null
  // What the answer is about: it is taken away when the run has gone on from there.
  let answered = null

  const confirm = (act) => {
    const reason = act === CANCEL ? el('input', { id: 'reason', maxlength: 500, autocomplete: 'off' }) : null
    const told = el('div', { role: 'alert' })
    const yes = el('button', { type: 'submit', class: act === CANCEL ? 'danger' : 'main' }, act.button)
    const no = el('button', { type: 'button', onclick: () => dialog.close() }, 'Leave it')
    const submit = async (event) => {
      event.preventDefault()
      yes.disabled = true
      told.replaceChildren()
      const args = { run_id: runId }
      if (reason?.value.trim()) args.reason = reason.value.trim()
      try {
        const run = await ask(`rpc/${act.name}`, { args, signal })
        // Whoever was faster has ended the run: then it is as it was.
        const isSo = act === CANCEL ? run?.status === 'cancelled' : run?.status === 'started'
        text(answer, isSo || !run?.status ? act.done : `Nothing was changed: the run is ${run.status}.`)
        answered = run?.status ?? null
        dialog.close()
        done()
      } catch (error) {
        if (signal.aborted) return
        told.replaceChildren(
          error instanceof Lost
            ? el('p', {}, 'No answer came, so it may have been done or not. You may press again: that does no harm.')
            : errorWords(error),
        )
        done()
      }
      yes.disabled = false
    }
    const dialog = el(
      'dialog',
      { 'aria-labelledby': 'act-title', onclose: () => dialog.remove() },
      el(
        'form',
        { onsubmit: submit },
        el('h2', { id: 'act-title' }, act.title),
        el('p', {}, act.advice),
        reason ? el('label', { for: 'reason' }, 'Reason, if you like') : null,
        reason,
        told,
        el('p', { class: 'buttons' }, yes, no),
      ),
    )
    text(answer, '')
    node.append(dialog)
    dialog.showModal()
  }

  /** Offers what goes with this status, if the token's role may manage runs: an operator's, an author's. */
  const show = (now) => {
    if (now && answered && status === answered && now !== answered) {
      text(answer, '')
      answered = null
    }
    status = now ?? status
    const offered = []
    if (me?.manages_runs && ['failed', 'cancelled'].includes(status)) offered.push(retry)
    if (me?.manages_runs && ['pending', 'started'].includes(status)) offered.push(cancel)
    arrange(buttons, offered)
  }
  return { node, show }
}
