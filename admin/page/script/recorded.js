// Requests that have ended, each with its explanation and the waterfall of its attempts.

import { Part, copyOf, element, svg } from './dom.js'
import { part, phases } from './shapes.js'
import { alike, cameOf, clock, took } from './wording.js'

export class Recorded extends Part {
  // Of a slow one the time that it took stands first, of a failed one its status.
  show(r, isSlow = false) {
    if (this.id === r.id && this.shown.explain === r.explain) return
    this.id = r.id
    this.ended = Date.parse(r.ended)
    this.tone(isSlow ? 'slow' : '')
    this.text('at', clock(r.ended))
    this.set('at', 'datetime', r.ended)
    const whole = took(r.timings_ms.total / 1000)
    this.text('status', isSlow ? whole : String(r.status))
    this.text('what', `${r.method} ${r.target}`)
    this.text('error', r.error ?? '')
    this.text('explain', r.explain)
    this.text('facts', `${r.target && `${r.target} · `}${r.client} · ${r.pool ?? 'no pool'} · ${whole} · ${r.id}`)
    this.fields.fall.replaceChildren(...queued(r), ...r.attempts.map((attempt, at) => (
      waterfall(attempt.backend, phases(attempt, r.timings_ms.total), cameOf(attempt, r, at === r.attempts.length - 1))
    )))
  }
}

const queued = ({ timings_ms: { queue, total } }) => (
  queue ? [waterfall('queue', [['queue', '0%', part(queue, total)]], took(queue / 1000))] : []
)

const waterfall = (name, phases, end) => {
  const bars = svg('svg', { 'aria-hidden': 'true' })
  bars.append(...phases.map(([phase, x, width]) => svg('rect', { class: phase, x, width, height: '100%' })))
  const line = element('div', '', 'try')
  line.append(element('span', name), bars, element('span', end))
  return line
}

// A list of them, which stays as it is while one of them is open: the reader is in its text.
export class RecordedList {
  constructor(root, isSlow) {
    Object.assign(this, { root, isSlow })
    this.lines = [...root.children].map((each) => new Recorded(each))
  }

  show(items) {
    if (this.root.querySelector('[open]')) return
    while (this.lines.length < items.length) this.lines.push(new Recorded(this.root.appendChild(copyOf('recorded'))))
    while (this.lines.length > items.length) this.lines.pop().root.remove()
    items.forEach((each, at) => {
      this.lines[at].show(each, this.isSlow)
      this.lines[at].text('alike', alike(each))
    })
  }

  clear() {
    this.lines = []
    this.root.replaceChildren()
  }
}
