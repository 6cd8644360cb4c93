// The five tiles: totals of now, and a line of five minutes each, with its highest value, marks for drains and
// reloads, and what it was where the pointer is.

import { $, Part } from './dom.js'
import { logged } from './event_log.js'
import { POINTS, STEP_MS, area, marks, spark } from './shapes.js'
import { MUCH_5XX, SOME_5XX, toneOf } from './tones.js'
import { besideP50, clock, least, peak, percent, quantile, rate } from './wording.js'

const MARKED = { drains: ['draining'], reloads: ['reloaded', 'not reloaded'] }

const tiles = Object.fromEntries(
  ['rps', 'errors', 'latency', 'flight', 'backends'].map((id) => [id, new Part($(`t-${id}`))]),
)
let history = null
let steppedAt = 0

// Begin with the five minutes that /stats answers.
export const beginHistory = (given) => {
  history = given
  steppedAt = performance.now()
}

// Every five seconds the numbers of now are the newest point.
export const remember = (totals) => {
  if (!history || performance.now() - steppedAt < STEP_MS) return
  steppedAt = performance.now()
  for (const [key, values] of Object.entries(history)) {
    if (!Array.isArray(values)) continue
    values.push(totals.rates[key] ?? totals[key] ?? null)
    if (values.length > POINTS) values.shift()
  }
}

export const markTimes = (kind, events = logged) => (
  events.filter((event) => MARKED[kind].includes(event.kind)).map((event) => Date.parse(event.at))
)

// The line and what belongs to it, in a part that has the fields for them.
export const drawLine = (drawn, values, write, { top = 0, now, events = logged, extreme = peak }) => {
  drawn.set('line', 'points', spark(values, top))
  drawn.set('area', 'points', area(values, top))
  if (!drawn.isRead) drawn.text('peak', extreme(values, write))
  for (const kind of Object.keys(MARKED)) drawn.set(kind, 'd', marks(markTimes(kind, events), now))
  const marked = Object.keys(MARKED).filter((kind) => drawn.shown[`${kind} d`])
  drawn.text('marked', marked.length ? `┆ ${marked.join(', ')}` : '')
  drawn.line = { values, write, now, extreme }
}

// What the line of a part was where the pointer is.
export const readAt = (drawn) => {
  const svg = drawn.root.querySelector('svg')
  svg.parentElement.addEventListener('pointermove', (event) => {
    if (!drawn.line) return
    const { left, width } = svg.getBoundingClientRect()
    const { values, write, now } = drawn.line
    const back = Math.round((1 - (event.clientX - left) / width) * (POINTS - 1))
    const value = values.at(-1 - back)
    const at = new Date(now - back * STEP_MS).toISOString()
    if (back >= values.length) return
    drawn.isRead = true
    drawn.text('peak', `${write(value ?? 0)} at ${clock(at)}`)
  })
  svg.parentElement.addEventListener('pointerleave', () => {
    drawn.isRead = false
    if (drawn.line) drawn.text('peak', drawn.line.extreme(drawn.line.values, drawn.line.write))
  })
}

const show = (id, value, more, tone) => {
  const tile = tiles[id]
  tile.text('value', value)
  tile.text('more', more)
  tile.tone(`tile ${tone}`)
}

export const showTotals = ({ totals, at }) => {
  const { rates, cap, queued } = totals
  show('rps', rate(rates.requests_per_second), '/s', 'ok')
  show('errors', percent(rates.share_5xx), '5xx in\u00a010\u00a0s', toneOf(rates.share_5xx, SOME_5XX, MUCH_5XX))
  show('latency', quantile(rates.p50_seconds), besideP50(rates.p99_seconds), toneOf(rates.p99_seconds ?? 0, 2, 10))
  const of = [cap === null ? '' : `of ${rate(cap)}`, queued ? `${queued} queued` : ''].filter(Boolean).join(' · ')
  show('flight', rate(totals.in_flight), of, toneOf(cap ? totals.in_flight / cap : 0, 0.8, 0.95))
  const tone = !totals.available ? 'bad' : totals.available === totals.backends ? 'ok' : 'warn'
  show('backends', String(totals.available), `of ${totals.backends}`, tone)
  tiles.backends.fields.which.hidden = totals.available === totals.backends
  if (history) draw(totals, Date.parse(at))
}

const draw = (totals, now) => {
  drawLine(tiles.rps, history.requests_per_second, (value) => `${rate(value)}/s`, { now })
  drawLine(tiles.errors, history.share_5xx, percent, { top: MUCH_5XX, now })
  drawLine(tiles.latency, history.p99_seconds, (value) => `p99 ${quantile(value)}`, { now })
  drawLine(tiles.flight, history.in_flight, rate, { now })
  drawLine(tiles.backends, history.available, rate, { top: totals.backends, now, extreme: least })
}

for (const tile of Object.values(tiles)) readAt(tile)
