// The view of one backend: what can be done to it, its five minutes, its checks, what runs on it, its failures, its
// slowest requests and its events. What is not in the numbers of each second is asked for while the view is open.

import { openAct } from './act_dialog.js'
import { backendPath, call, wrong } from './api.js'
import { $, Part, element, write } from './dom.js'
import { logLine, logged } from './event_log.js'
import { RecordedList } from './recorded.js'
import { RunningList, runningPath } from './running_list.js'
import { ticks } from './shapes.js'
import { slowestPath } from './slowest.js'
import { backendCalled, latest, remember, view } from './state.js'
import { drawLine, readAt } from './tiles.js'
import { change } from './toast.js'
import { TONES } from './tones.js'
import { ago, beside, checked, clock, found, mistakes, percent, plainly, quantile, rate, took, where } from './wording.js'

const REFRESH_MS = 2000
const MOST = 20
const MOST_SLOW = 5
const LINES = {
  rps: ['requests_per_second', (value) => `${rate(value)}/s`],
  failing: ['share_failing', percent],
  p99: ['p99_seconds', quantile],
  flight: ['in_flight', rate],
}

const dialog = $('one')
const lines = Object.fromEntries(Object.keys(LINES).map((name) => [name, new Part($(`one-${name}`))]))
for (const line of Object.values(lines)) readAt(line)
let timer = 0
let written = '' // which events are shown

export const openOne = (id) => {
  view.backend = id
  remember()
  written = ''
  $('one-events').replaceChildren()
  failures.clear()
  slowest.clear()
  running.show([], id)
  write('one-title', id)
  write('one-error', '')
  if (!dialog.open) dialog.showModal()
  showOne()
  refresh()
}

dialog.addEventListener('close', () => {
  clearTimeout(timer)
  view.backend = ''
  remember()
})

// The numbers of this second.
export const showOne = () => {
  if (!view.backend || !latest.stats) return
  if (!dialog.open) return openOne(view.backend)
  const b = backendCalled(view.backend)
  dialog.className = b ? TONES[b.state] ?? 'warn' : 'off'
  write('one-state', b ? b.state : 'gone')
  write('one-left', b ? beside(b) : '')
  $('one-acts').hidden = !b
  if (!b) return undefined
  write('one-where', [where(b), `pool ${b.pool}`, found(b)].filter(Boolean).join(' · '))
  const troubles = latest.stats.trouble.filter((each) => each.backend === b.id).map((each) => each.sentence)
  write('one-why', troubles.join('. ') || plainly(b))
  $('one-why').className = troubles.length ? 'error' : ''
  write('one-checked', checked(b.checks) || 'The pool has no probe.')
  $('one-pass').setAttribute('d', ticks(b.checks, '.'))
  $('one-fail').setAttribute('d', ticks(b.checks, 'x'))
  showFacts(b)
  return showEvents(b.id)
}

const showFacts = (b) => {
  const facts = {
    'Weight': b.weight,
    'In flight': b.cap === null ? b.in_flight : `${b.in_flight} of ${b.cap}`,
    'Share': `${percent(b.share)} of the pool's, ${percent(b.expected_share)} by weight`,
    'Last minute': mistakes(b.minute),
    'To the first byte': `p50 ${quantile(b.rates.p50_seconds)}, p90 ${quantile(b.rates.p90_seconds)}, p99 ${quantile(b.rates.p99_seconds)}`,
    'Connections': `${b.connections}, ${b.idle_connections} idle`,
    'In this state': `for ${ago(b.state_seconds)}`,
  }
  const list = $('one-facts')
  if (!list.childElementCount) {
    for (const name of Object.keys(facts)) list.append(element('dt', name), element('dd'))
  }
  Object.values(facts).forEach((value, at) => {
    const field = list.children[2 * at + 1]
    if (field.textContent !== String(value)) field.textContent = value
  })
}

const ofThis = (event) => event.backend === view.backend

const showEvents = (id) => {
  const events = logged.filter(ofThis).slice(-MOST).reverse()
  const key = [id, ...events.map((event) => event.at)].join(' ')
  if (key === written) return
  written = key
  $('one-events').replaceChildren(...events.map(logLine))
  $('one-no-events').hidden = events.length > 0
}

// What else is to be known of it.
const refresh = async () => {
  clearTimeout(timer)
  const id = view.backend
  const get = async (path) => (await call('GET', path)).json()
  try {
    const [own, history, now, failed, slow] = await Promise.all([
      get(backendPath(id)),
      get(backendPath(id, 'history')),
      get(runningPath(id, MOST)),
      get(`/requests?${new URLSearchParams({ kinds: 1, backend: id, limit: MOST })}`),
      get(slowestPath(MOST_SLOW, { backend: id })),
    ])
    if (view.backend !== id) return
    showOwn(own)
    showHistory(history)
    showRunning(now)
    failures.show(failed.items)
    $('one-no-failures').hidden = failed.items.length > 0
    slowest.show(slow.items)
    $('one-no-slowest').hidden = slow.items.length > 0
    write('one-error', '')
  } catch (error) {
    if (view.backend === id) write('one-error', wrong(error))
  }
  if (dialog.open) timer = setTimeout(again, REFRESH_MS)
}

const again = () => (view.paused || document.hidden ? (timer = setTimeout(again, REFRESH_MS)) : refresh())

const showOwn = ({ status }) => {
  const { last, downs, down_seconds: down } = status.health
  const ever = downs ? `Down ${downs}\u00a0× since it was added, ${ago(down)} in all.` : ''
  write('one-last', last ? `The last one ${last.ok ? 'passed' : 'failed'} at ${clock(last.at)} after ${took(last.seconds)}: ${last.why}. ${ever}` : '')
  const { ejections, standing, why, until } = status.outcomes
  const said = [ejections ? `ejected ${ejections}\u00a0× so far` : 'never ejected']
  if (standing !== 'admitted') said.push(`${standing}: ${why}`)
  if (until) said.push(`until ${clock(until)}`)
  write('one-outcomes', `${rate(status.requests_total)} attempts since it was added, ${rate(status.failures_total)} of them without a whole answer; ${said.join(', ')}.`)
}

const showHistory = (history) => {
  const now = Date.parse(latest.stats.at)
  const events = logged.filter((event) => ofThis(event) || /reloaded$/.test(event.kind))
  for (const [name, [key, written]] of Object.entries(LINES)) drawLine(lines[name], history[key], written, { now, events })
}

const running = new RunningList($('one-running'), () => {}, (mistake) => (mistake ? write('one-error', mistake) : refresh()))
const showRunning = ({ items, total }) => {
  running.show(items, view.backend)
  const more = total - items.length
  write('one-none', total ? (more > 0 ? `and ${more} more` : '') : 'Nothing runs on it now.')
}

const failures = new RecordedList($('one-failures'), false)
const slowest = new RecordedList($('one-slowest'), true)

const check = async (b) => {
  const isDone = await change(`${b.id} was probed.`, 'POST', backendPath(b.id, 'check'))
  if (isDone) refresh()
}

$('one-acts').addEventListener('click', (event) => {
  const { act } = event.target.dataset
  const b = backendCalled(view.backend)
  if (!act || !b) return undefined
  if (act === 'check') return check(b)
  if (act === 'ready') return change(`${b.id} is ready.`, 'POST', backendPath(b.id, 'ready'))
  return openAct(act, [b])
})
