// Keeps the page at / up to date, and turns clicks and keys into calls of the API. The server has rendered the
// page with the numbers of that moment; the numbers of each second and the events come through stream.js.

import { openAct } from './act_dialog.js'
import { openAdd } from './add_dialog.js'
import { backendPath } from './api.js'
import { followBalancers } from './balancers.js'
import { condition, showCondition } from './condition.js'
import { $, all, write } from './dom.js'
import { announce, log, subjectOf } from './event_log.js'
import { refreshFailures } from './failures.js'
import { listenForIds } from './find.js'
import { showFlow } from './flow.js'
import { listenForKeys } from './keys.js'
import { openOne, showOne } from './own_view.js'
import { refreshRoutes } from './routes.js'
import { openRunning } from './running_dialog.js'
import { pick, showPicked } from './selection.js'
import { refreshSlowest } from './slowest.js'
import { backendCalled, latest, remember as rememberView, view } from './state.js'
import { follow, showLive } from './stream.js'
import { fold, lookForTrouble, pickAll, showPools, showState, sortBy } from './table.js'
import { beginHistory, remember, showTotals } from './tiles.js'
import { refreshTls } from './tls.js'
import { change } from './toast.js'
import { showTrouble } from './trouble.js'
import { clock, span } from './wording.js'
import { showWorkers } from './workers.js'

// The numbers of each second, drawn once a frame at most, and not while the tab is hidden.

let isDrawn = true
const take = (stats) => {
  latest.stats = stats
  latest.troubled = new Set(stats.trouble.map((t) => t.backend))
  remember(stats.totals)
  showCondition(...condition(stats))
  if (view.paused || !isDrawn || document.hidden) return
  isDrawn = false
  requestAnimationFrame(() => {
    isDrawn = true
    if (!view.paused) show(latest.stats)
  })
}

const show = (stats) => {
  showTotals(stats)
  showTrouble(stats)
  showPools(stats)
  showPicked()
  showOne()
  showFlow(stats)
  showWorkers(stats)
  write('uptime', span(stats.uptime_seconds))
  $('notice').hidden = !(stats.draining || stats.stopping)
  if (stats.stopping) write('leaving', 'This balancer is stopping.')
  $('undo').hidden = stats.stopping
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && latest.stats && !view.paused) show(latest.stats)
})

const begin = (stats, isFirst) => {
  beginHistory(stats.totals.history)
  if (isFirst) $('log').replaceChildren() // the stream replays these events
  refreshRoutes()
  followBalancers()
  take(stats)
  refreshFailures()
  refreshSlowest()
  refreshTls()
}

const told = (type, data, isNew) => {
  if (type === 'stats') return take(data)
  if (type === 'request_failed') return refreshFailures()
  if (type === 'missed' || type === 'ending' || data.kind === 'progress') return
  if (isNew) showState(data)
  log(data)
  if (isNew && type === 'certificate') refreshTls()
  if (isNew && data.kind === 'reloaded') refreshRoutes()
  if (isNew) announce(type === 'trouble' ? `${data.kind}: ${data.detail}` : `${subjectOf(data)} is ${data.kind}`)
}

// Clicks and keys.

// The address has the view, so it must not become that of a place on the page.
$('skip').addEventListener('click', (event) => {
  event.preventDefault()
  $('pools').focus()
})
$('undo').addEventListener('click', () => change('The balancer takes part again.', 'DELETE', '/drain'))
$('which').addEventListener('click', () => {
  lookForTrouble(true)
  $('pools').scrollIntoView()
})

const accept = (pool) => change(`${pool} follows its sources.`, 'POST', `/pools/${encodeURIComponent(pool)}/discover/accept`)

const ofPool = {
  accept,
  add: (pool, event) => openAdd(event, pool),
  fold: (pool) => fold(pool, 'open'),
  more: (pool) => fold(pool, 'whole'),
}
const ofBackend = {
  open: (b) => openOne(b.id),
  running: (b) => openRunning(b.id),
  ready: (b) => change(`${b.id} is ready.`, 'POST', backendPath(b.id, 'ready')),
  drain: (b) => openAct('drain', [b]),
  remove: (b) => openAct('remove', [b]),
}

$('pools').addEventListener('submit', (event) => event.preventDefault())
$('pools').addEventListener('click', (event) => {
  const sort = event.target.closest('[data-sort]')
  if (sort) return sortBy(sort.dataset.sort)
  const button = event.target.closest('[data-act]')
  if (!button) return undefined
  event.preventDefault()
  const { act } = button.dataset
  if (act in ofPool) return ofPool[act](button.closest('.pool').dataset.pool, event)
  const b = backendCalled(button.closest('tr').dataset.id)
  return b && ofBackend[act](b)
})

const takeWeight = async (input) => {
  const { id } = input.closest('tr').dataset
  const body = new URLSearchParams({ weight: input.value })
  const isDone = await change(`${id} has weight ${input.value}.`, 'PATCH', backendPath(id), body)
  const b = backendCalled(id)
  if (!isDone && b) input.value = b.weight
}

$('pools').addEventListener('change', ({ target }) => {
  const { f } = target.dataset
  if (f === 'weight') takeWeight(target)
  else if (f === 'pick') pick(target.closest('tr').dataset.id, target.checked)
  else if (f === 'pickall') {
    pickAll(target.closest('.pool').dataset.pool, target.checked)
    showPicked()
  }
})
$('pools').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.dataset.f === 'weight') event.target.blur()
})

const pause = () => {
  view.paused = !view.paused
  $('pause').setAttribute('aria-pressed', view.paused)
  write('pause', view.paused ? 'Go on' : 'Pause')
  showLive()
  if (view.paused) return
  if (latest.stats) show(latest.stats)
  refreshFailures()
  refreshSlowest()
}
$('pause').addEventListener('click', pause)
listenForKeys(pause)
listenForIds()

// The zone of all times: UTC, as logs have it, or that of this place.
const showZone = () => {
  write('zone', view.isLocal ? 'local time' : 'UTC')
  for (const time of all('time[datetime]')) time.textContent = clock(time.getAttribute('datetime'))
}
$('zone').addEventListener('click', () => {
  view.isLocal = !view.isLocal
  rememberView()
  showZone()
})
showZone()

follow(begin, told)
