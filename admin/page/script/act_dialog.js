// The dialog before a backend is drained or removed: what follows from it, and the same as curl.

import { backendPath, call, curl, wrong } from './api.js'
import { $, write } from './dom.js'
import { latest } from './state.js'
import { toast } from './toast.js'
import { TONES } from './tones.js'
import { percent } from './wording.js'

const MOST_NAMED = 4 // backends in a forecast

const dialog = $('act')
let acting = null // the act, and the backend that it is about

export const openAct = (act, b) => {
  acting = { act, b }
  write('act-title', act === 'drain' ? `Drain ${b.id}?` : `Remove ${b.id}?`)
  write('act-says', consequences(b))
  $('act-then-label').hidden = act !== 'drain'
  write('act-go', act === 'drain' ? 'Drain' : 'Drain, then remove')
  $('act-go').classList.toggle('danger', act === 'remove')
  write('act-error', '')
  showRequest()
  foresee(b)
  dialog.showModal()
  $('act-go').focus()
}

const consequences = (b) => {
  const pool = latest.stats.backends.filter((each) => each.pool === b.pool)
  const others = pool.filter((each) => each.id !== b.id && each.available).length
  const remain = others
    ? `${others} of ${pool.length} in ${b.pool} will take its requests.`
    : `Nobody else in ${b.pool} takes requests: clients will get 503.`
  return `${remain} ${b.in_flight ? `What is in flight (${b.in_flight}) may end first.` : 'Nothing is in flight on it.'}`
}

// How the requests of the last minute would have gone without it, and without those that are down now.
const foresee = async (b) => {
  write('act-whatif', '')
  const isOut = (each) => each.pool === b.pool && (each.id === b.id || TONES[each.state] === 'bad')
  const remove = latest.stats.backends.filter(isOut).map((each) => each.id)
  const question = new Blob([JSON.stringify({ pool: b.pool, remove })], { type: 'application/json' })
  try {
    const expected = await (await call('POST', '/whatif', question)).json()
    if (acting.b === b && expected.requests) write('act-whatif', forecast(expected))
  } catch { /* the dialog does without */ }
}

const forecast = ({ requests, items, queued, refused, window_seconds: seconds }) => {
  const when = seconds < 59 ? `${Math.ceil(seconds)} s` : 'minute'
  const most = items.toSorted((a, b) => b.requests - a.requests).slice(0, MOST_NAMED)
  const shares = most.map((each) => `${each.id} ${percent(each.share)} (${each.peak_in_flight} at once)`)
  const trouble = [queued && `${queued} would have waited`, refused && `${refused} got a 503`].filter(Boolean)
  const more = items.length > most.length ? `, ${items.length - most.length} more` : ''
  return `The last ${when} without it (${requests} requests): ${shares.join(', ')}${more}; ${trouble.join(', ') || 'nobody would have waited'}.`
}

const request = () => {
  const { act, b } = acting
  const timeout = $('act-timeout').value.trim()
  const query = new URLSearchParams()
  if (timeout) query.set(act === 'drain' ? 'timeout' : 'drain_timeout', timeout)
  if (act === 'drain' && $('act-then').value !== 'keep') query.set('then', $('act-then').value)
  const tail = query.size ? `?${query}` : ''
  return act === 'drain' ? ['POST', backendPath(b.id, 'drain') + tail] : ['DELETE', backendPath(b.id) + tail]
}

const showRequest = () => {
  dialog.querySelector('code').textContent = curl(...request())
}

$('act-fields').addEventListener('input', showRequest)
dialog.querySelector('form').addEventListener('submit', async (event) => {
  if (event.submitter?.value !== 'go') return
  event.preventDefault()
  const { act, b } = acting
  const wanted = request()
  try {
    await call(...wanted)
    dialog.close()
    toast(act === 'drain' ? `${b.id} drains.` : `${b.id} drains, then leaves.`, curl(...wanted))
  } catch (error) {
    write('act-error', wrong(error))
  }
})
