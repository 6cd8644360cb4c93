// The dialog before one or several backends are drained, removed, or put into another state: what follows from it,
// the same as curl, and how it went with each of them.

import { backendPath, call, curl, wrong } from './api.js'
import { $, element, write } from './dom.js'
import { latest } from './state.js'
import { toast } from './toast.js'
import { TONES } from './tones.js'
import { percent } from './wording.js'

const MOST_NAMED = 4 // backends in a forecast
const ACTS = {
  drain: { verb: 'Drain', button: 'Drain', done: 'drains' },
  ready: { verb: 'Make ready', button: 'Make ready', done: 'is ready' },
  maintenance: { verb: 'Put into maintenance', button: 'Cut and put into maintenance', done: 'is in maintenance' },
  remove: { verb: 'Remove', button: 'Drain, then remove', done: 'drains, then leaves' },
}

const dialog = $('act')
let acting = null // the act, the backends that it is about, and who hears of each that it was done to

export const openAct = (act, backends, isDone = () => {}) => {
  if (!backends.length) return
  acting = { act, backends, isDone, toDo: backends }
  const { verb, button } = ACTS[act]
  write('act-title', `${verb}: ${backends.length === 1 ? backends[0].id : `${backends.length} backends`}?`)
  write('act-says', act === 'ready' ? 'They take requests again as soon as their probes pass.' : consequences(act, backends))
  $('act-timeout-label').hidden = !['drain', 'remove'].includes(act)
  $('act-then-label').hidden = act !== 'drain'
  $('act-then-remove').hidden = document.body.dataset.scope !== 'admin'
  $('act-keep-label').hidden = act === 'ready'
  write('act-go', button)
  $('act-go').hidden = $('act-go').disabled = false
  $('act-go').classList.toggle('danger', ['remove', 'maintenance'].includes(act))
  write('act-no', 'Cancel')
  write('act-error', '')
  $('act-results').replaceChildren()
  showRequests()
  write('act-whatif', '')
  if (act !== 'ready') foresee(acting)
  dialog.showModal()
  $(['remove', 'maintenance'].includes(act) ? 'act-no' : 'act-go').focus() // Enter must not cut what was clicked by mistake
}

const pools = (backends) => [...new Set(backends.map((b) => b.pool))]
const flights = (backends) => backends.reduce((sum, b) => sum + b.in_flight, 0)

const consequences = (act, backends) => {
  const ids = new Set(backends.map((b) => b.id))
  const remain = pools(backends).map((name) => {
    const pool = latest.stats.backends.filter((each) => each.pool === name)
    const others = pool.filter((each) => !ids.has(each.id) && each.available).length
    return others
      ? `${others} of ${pool.length} in ${name} will take ${backends.length === 1 ? 'its' : 'their'} requests.`
      : `Nobody else in ${name} takes requests: clients will get 503.`
  })
  const flight = flights(backends)
  const end = act === 'maintenance' ? 'is cut' : 'may end first'
  const rest = flight ? `What is in flight (${flight}) ${end}.` : 'Nothing is in flight.'
  return [...remain, rest].join(' ')
}

// How the requests of the last minute would have gone without them, and without those that are down now.
const foresee = async (asked) => {
  const [pool, ...others] = pools(asked.backends)
  const ids = new Set(asked.backends.map((b) => b.id))
  const isLeft = latest.stats.backends.some((each) => each.pool === pool && each.available && !ids.has(each.id))
  if (others.length || !isLeft) return
  const isOut = (each) => each.pool === pool && (ids.has(each.id) || TONES[each.state] === 'bad')
  const remove = latest.stats.backends.filter(isOut).map((each) => each.id)
  const question = new Blob([JSON.stringify({ pool, remove })], { type: 'application/json' })
  try {
    const expected = await (await call('POST', '/whatif', question)).json()
    if (acting === asked && expected.requests) write('act-whatif', forecast(expected, ids.size))
  } catch { /* the dialog does without */ }
}

const forecast = ({ requests, items, queued, refused, window_seconds: seconds }, count) => {
  const when = seconds < 59 ? `${Math.ceil(seconds)} s` : 'minute'
  const most = items.toSorted((a, b) => b.requests - a.requests).slice(0, MOST_NAMED)
  const shares = most.map((each) => `${each.id} ${percent(each.share)} (${each.peak_in_flight} at once)`)
  const trouble = [queued && `${queued} would have waited`, refused && `${refused} got a 503`].filter(Boolean)
  const more = items.length > most.length ? `, ${items.length - most.length} more` : ''
  const without = count === 1 ? 'it' : 'them'
  return `The last ${when} without ${without} (${requests} requests): ${shares.join(', ')}${more}; ${trouble.join(', ') || 'nobody would have waited'}.`
}

const request = (b) => {
  const { act } = acting
  const query = new URLSearchParams()
  const timeout = $('act-timeout').value.trim()
  if (timeout && act === 'drain') query.set('timeout', timeout)
  if (timeout && act === 'remove') query.set('drain_timeout', timeout)
  if (act === 'drain' && $('act-then').value !== 'keep') query.set('then', $('act-then').value)
  if (act !== 'ready' && $('act-keep').value) query.set('keep_available', $('act-keep').value)
  const tail = query.size ? `?${query}` : ''
  return act === 'remove' ? ['DELETE', backendPath(b.id) + tail] : ['POST', backendPath(b.id, act) + tail]
}

const showRequests = () => {
  dialog.querySelector('code').textContent = acting.toDo.map((b) => curl(...request(b))).join('\n')
}

// One after the other: where so many must stay available, the API judges each by what those before it left. Who
// closes the dialog meanwhile stops that.
const goThrough = async (asked) => {
  const { act, toDo, isDone, backends } = asked
  const isAlone = backends.length === 1
  const failed = []
  $('act-go').disabled = true
  $('act-results').replaceChildren()
  for (const [b, wanted] of toDo.map((each) => [each, request(each)])) {
    if (!dialog.open || acting !== asked) return undefined
    try {
      await call(...wanted)
      isDone(b.id)
      if (isAlone) toast(`${b.id} ${ACTS[act].done}.`, curl(...wanted))
      else result('ok', `✓ ${b.id} ${ACTS[act].done}`)
    } catch (error) {
      failed.push(b)
      if (isAlone) write('act-error', wrong(error))
      else result('bad', `✗ ${b.id}: ${wrong(error)}`)
    }
  }
  if (!dialog.open || acting !== asked) return undefined
  $('act-go').disabled = false
  if (isAlone) return failed.length || dialog.close()
  return showRest(failed)
}

const result = (tone, text) => $('act-results').append(element('li', text, tone))

const showRest = (failed) => {
  acting.toDo = failed
  write('act-no', 'Close')
  $('act-go').hidden = !failed.length
  if (failed.length) write('act-go', `Again: the ${failed.length} that failed`)
  showRequests()
  if (!failed.length) $('act-no').focus()
}

$('act-fields').addEventListener('input', showRequests)
dialog.querySelector('form').addEventListener('submit', (event) => {
  if (event.submitter?.value !== 'go') return
  event.preventDefault()
  goThrough(acting)
})
