// Keeps the page at / up to date, and turns clicks and keys into calls of the API. The server has rendered the
// page with the numbers of that moment; the numbers of each second and the events come through stream.js.

import { openAct } from './act_dialog.js'
import { openAdd } from './add_dialog.js'
import { backendPath } from './api.js'
import { condition, showCondition } from './condition.js'
import { $, write } from './dom.js'
import { announce, log, subjectOf } from './event_log.js'
import { refreshFailures } from './failures.js'
import { showFlow } from './flow.js'
import { openRunning } from './running_dialog.js'
import { latest, view } from './state.js'
import { follow, showLive } from './stream.js'
import { showPools, showState, sortBy } from './table.js'
import { beginHistory, remember, showTotals } from './tiles.js'
import { change } from './toast.js'
import { span } from './wording.js'

// The numbers of each second, drawn once a frame at most, and not while the tab is hidden.

let isDrawn = true
const take = (stats) => {
  latest.stats = stats
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
  showPools(stats)
  showFlow(stats)
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
  take(stats)
  refreshFailures()
}

const told = (type, data, isNew) => {
  if (type === 'stats') return take(data)
  if (type === 'request_failed') return refreshFailures()
  if (type === 'missed' || type === 'ending' || data.kind === 'progress') return
  if (isNew) showState(data)
  log(data)
  if (isNew) announce(`${subjectOf(data)} is ${data.kind}`)
}

// Clicks and keys.

$('undo').addEventListener('click', () => change('The balancer takes part again.', 'DELETE', '/drain'))

const backendAt = (target) => {
  const { id } = target.closest('tr').dataset
  return latest.stats?.backends.find((each) => each.id === id)
}

$('pools').addEventListener('submit', (event) => event.preventDefault())
$('pools').addEventListener('click', (event) => {
  const sort = event.target.closest('[data-sort]')
  if (sort) return sortBy(sort.dataset.sort)
  const button = event.target.closest('[data-act]')
  if (!button) return undefined
  event.preventDefault()
  const b = backendAt(button)
  if (!b) return undefined
  if (button.dataset.act === 'running') return openRunning(b.id)
  if (button.dataset.act === 'ready') return change(`${b.id} is ready.`, 'POST', backendPath(b.id, 'ready'))
  return openAct(button.dataset.act, b)
})

$('pools').addEventListener('change', async (event) => {
  const input = event.target.closest('.weight input')
  if (!input) return
  const { id } = input.closest('tr').dataset
  const body = new URLSearchParams({ weight: input.value })
  const isDone = await change(`${id} has weight ${input.value}.`, 'PATCH', backendPath(id), body)
  const b = backendAt(input)
  if (!isDone && b) input.value = b.weight
})
$('pools').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.closest('.weight input')) event.target.blur()
})

const pause = () => {
  view.paused = !view.paused
  $('pause').setAttribute('aria-pressed', view.paused)
  write('pause', view.paused ? 'Go on' : 'Pause')
  showLive()
  if (view.paused) return
  if (latest.stats) show(latest.stats)
  refreshFailures()
}
$('pause').addEventListener('click', pause)

document.addEventListener('keydown', (event) => {
  if (event.target.closest('input, select, dialog') || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === '/') {
    event.preventDefault()
    $('filter').focus()
  } else if (event.key === 'p') pause()
  else if (event.key === 'a') openAdd(event)
})

document.documentElement.classList.add('js')
follow(begin, told)
