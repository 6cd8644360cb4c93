// Failed requests: the newest of each kind, with its explanation and the waterfall of its attempts.

import { call } from './api.js'
import { $, Part, copyOf, element, svg, write } from './dom.js'
import { phases } from './shapes.js'
import { view } from './state.js'
import { alike, clock, kindOf, took } from './wording.js'

const MOST = 30
const REFRESH_MS = 800

class Failure extends Part {
  show(r) {
    if (this.id === r.id) return
    this.id = r.id
    this.root.dataset.id = kindOf(r)
    this.text('at', clock(r.ended))
    this.set('at', 'datetime', r.ended)
    this.text('status', String(r.status))
    this.text('what', `${r.method} ${r.target}`)
    this.text('error', r.error ?? '')
    this.text('explain', r.explain)
    this.text('facts', `${r.target && `${r.target} · `}${r.client} · ${r.pool ?? 'no pool'} · ${took(r.timings_ms.total / 1000)} · ${r.id}`)
    this.fields.fall.replaceChildren(...r.attempts.map((attempt) => waterfall(attempt, r.timings_ms.total)))
  }
}

const waterfall = (attempt, total) => {
  const bars = svg('svg', { 'aria-hidden': 'true' })
  bars.append(...phases(attempt, total).map(([name, x, width]) => svg('rect', { class: name, x, width, height: '100%' })))
  const line = element('div', '', 'try')
  line.append(element('span', attempt.backend), bars, element('span', attempt.error ?? 'ok'))
  return line
}

const failures = new Map() // by kind
for (const root of $('failures').children) failures.set(root.dataset.id, new Failure(root))

// An open failure stays as it is, and while one is open the order stays too: the reader may be in its text.
const showFailures = (items) => {
  const isRead = $('failures').querySelector('[open]') !== null
  const kinds = new Set(items.map(kindOf))
  for (const [kind, shown] of failures) {
    if (kinds.has(kind) || shown.root.open) continue
    shown.root.remove()
    failures.delete(kind)
  }
  let at = $('failures').firstElementChild
  for (const r of items) {
    const known = failures.get(kindOf(r))
    const shown = known ?? new Failure(copyOf('failure'))
    failures.set(kindOf(r), shown)
    shown.text('alike', alike(r))
    if (!shown.root.open) shown.show(r)
    if (shown.root === at) at = at.nextElementSibling
    else if (!known || !isRead) $('failures').insertBefore(shown.root, at)
  }
  $('no-failures').hidden = items.length > 0
  write('no-failures', 'None remembered.')
}

let isDue = false
export const refreshFailures = () => {
  if (isDue) return
  isDue = true
  setTimeout(async () => {
    isDue = false
    if (view.paused) return
    try {
      const answer = await call('GET', `/requests?kinds=1&limit=${MOST}`)
      showFailures((await answer.json()).items)
    } catch { /* the next event asks again */ }
  }, REFRESH_MS)
}

$('failures').addEventListener('toggle', (event) => {
  if (!event.target.open) refreshFailures() // a newer one may be shown now
}, true)
