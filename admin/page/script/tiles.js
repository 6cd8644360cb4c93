// The five tiles: totals of now, and a line of five minutes each.

import { $, Part } from './dom.js'
import { POINTS, area, spark } from './shapes.js'
import { MUCH_5XX, SOME_5XX, toneOf } from './tones.js'
import { percent, rate, took } from './wording.js'

const STEP_MS = 5000

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

const show = (id, value, more, tone, values, top) => {
  const tile = tiles[id]
  tile.text('value', value)
  tile.text('more', more)
  tile.tone(`tile ${tone}`)
  if (!values) return
  tile.set('line', 'points', spark(values, top))
  tile.set('area', 'points', area(values, top))
}

export const showTotals = ({ totals }) => {
  const { rates, cap, queued } = totals
  show('rps', rate(rates.requests_per_second), '/s', 'ok', history?.requests_per_second)
  show('errors', percent(rates.share_5xx), '5xx', toneOf(rates.share_5xx, SOME_5XX, MUCH_5XX), history?.share_5xx, MUCH_5XX)
  show('latency', took(rates.p50_seconds), `p99 ${took(rates.p99_seconds)}`, toneOf(rates.p99_seconds ?? 0, 2, 10), history?.p99_seconds)
  const of = [cap === null ? '' : `of ${rate(cap)}`, queued ? `${queued} queued` : ''].filter(Boolean).join(' · ')
  show('flight', rate(totals.in_flight), of, toneOf(cap ? totals.in_flight / cap : 0, 0.8, 0.95), history?.in_flight)
  const tone = totals.available === totals.backends ? 'ok' : totals.available ? 'warn' : 'bad'
  show('backends', String(totals.available), `of ${totals.backends}`, tone, history?.available, totals.backends)
}
