// One row of a table: what it shows of its backend, where it stands among the others, and what is far from usual.

import { backendPath } from './api.js'
import { Part, all } from './dom.js'
import { drained, part, stack, ticks } from './shapes.js'
import { latest, mayChange, view } from './state.js'
import { SOME_5XX, TONES } from './tones.js'
import { beside, checked, found, middle, mistakes, percent, plainly, quantile, rate, where } from './wording.js'

const ENOUGH = 20 // requests in ten seconds, of which a share means something
const MANY = 10 // requests in flight beyond what is usual

export class Row extends Part {
  constructor(root) {
    super(root)
    this.order = 0
    this.data = null
  }

  // `usual` has what is usual in the pool.
  show(usual) {
    const b = this.data
    if (this.shown.of !== b.id) this.name(b)
    this.tone(`${TONES[b.state] ?? 'warn'}${latest.troubled.has(b.id) ? ' troubled' : ''}`)
    this.text('where', where(b))
    this.set('where', 'title', this.shown.where)
    this.text('found', found(b))
    this.set('found', 'class', b.missing_seconds === null ? 'tag' : 'tag warn')
    this.fields.found.hidden = !this.shown.found
    this.text('state', b.state)
    this.text('why', plainly(b))
    this.set('why', 'title', b.why)
    this.text('left', beside(b))
    this.checks(b.checks)
    this.set('drained', 'width', drained(b))
    this.weight(b.weight)
    this.text('flight', rate(b.in_flight))
    this.text('cap', b.cap === null ? '' : `/${b.cap}`)
    this.set('full', 'width', part(b.in_flight, b.cap))
    this.text('rps', rate(b.rates.requests_per_second))
    this.text('share', percent(b.share))
    this.text('expected', b.expected_share ? `of ${percent(b.expected_share)}` : '')
    this.set('got', 'width', part(b.share ?? 0, 1))
    this.set('due', 'x', part(b.expected_share, 1))
    this.set('due', 'width', b.expected_share ? 2 : 0)
    this.codes(b.minute)
    if (this.fields.weight.disabled === mayChange()) this.fields.weight.disabled = !mayChange()
    this.text('p50', quantile(b.rates.p50_seconds))
    this.text('p99', quantile(b.rates.p99_seconds))
    this.tint(usual)
  }

  name(b) {
    this.shown.of = b.id
    this.root.dataset.id = b.id
    this.text('id', middle(b.id))
    this.set('id', 'title', b.id)
    this.fields.weight.setAttribute('aria-label', `Weight of ${b.id}`)
    this.fields.pick.setAttribute('aria-label', `Select ${b.id}`)
    this.fields.flight.title = `Requests on ${b.id}`
    for (const button of all('.acts [data-act]', this.root)) {
      const { act } = button.dataset
      button.setAttribute('aria-label', `${button.textContent} ${b.id}`)
      if (act === 'drain' || act === 'ready') button.formAction = backendPath(b.id, act)
    }
  }

  checks(checks) {
    if (this.shownChecks === checks) return
    this.shownChecks = checks
    this.text('checked', checked(checks))
    this.set('pass', 'd', ticks(checks, '.'))
    this.set('fail', 'd', ticks(checks, 'x'))
  }

  // Not while the reader types another weight.
  weight(weight) {
    if (document.activeElement === this.fields.weight || this.shown.weight === weight) return
    this.shown.weight = weight
    this.fields.weight.value = weight
  }

  codes(minute) {
    for (const [name, x, width] of stack(minute)) {
      this.set(name, 'x', x)
      this.set(name, 'width', width)
    }
    this.text('codes', mistakes(minute))
    this.set('codes', 'title', this.shown.codes)
  }

  // A cell that is far from what is usual in the pool.
  tint(usual) {
    const { rates, in_flight: flight } = this.data
    for (const name of ['p50', 'p99']) {
      const value = rates[`${name}_seconds`] ?? 0
      this.set(name, 'class', value >= 3 * usual[name] && value >= usual[name] + 0.05 ? 'n much' : 'n')
    }
    this.set('flight', 'class', flight >= 3 * usual.flight && flight >= usual.flight + MANY ? 'link much' : 'link')
    const failing = rates.share_5xx + rates.share_failed
    this.set('codes', 'class', failing >= SOME_5XX && rates.ended >= ENOUGH ? 'n much' : 'n')
  }

  // Whether it is among those that the reader looks for.
  matches() {
    const b = this.data
    if (view.troubleOnly && rankOf(b) >= FINE) return false
    return !view.filter || `${b.id} ${where(b)} ${b.state} ${b.why} ${b.pool}`.toLowerCase().includes(view.filter)
  }
}

// Those in trouble stand above the others.
export const FINE = 3
const RANKS = { bad: 1, warn: 2 }
export const rankOf = (b) => (latest.troubled.has(b.id) ? 0 : RANKS[TONES[b.state]] ?? FINE)

export const KEYS = {
  id: (b) => b.id, state: (b) => Object.keys(TONES).indexOf(b.state), weight: (b) => b.weight,
  flight: (b) => b.in_flight, rps: (b) => b.rates.requests_per_second, share: (b) => b.share ?? -1,
  codes: (b) => b.minute['5xx'] + b.minute.failed, p50: (b) => b.rates.p50_seconds ?? -1,
  p99: (b) => b.rates.p99_seconds ?? -1,
}

export const inOrder = (one, other) => {
  if (!view.sort) return rankOf(one.data) - rankOf(other.data) || one.order - other.order
  const [a, b] = [KEYS[view.sort](one.data), KEYS[view.sort](other.data)]
  const by = typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a - b
  return (view.descending ? -by : by) || one.order - other.order
}

// What is usual in a pool: medians of those that have had requests; of fewer than two nothing is.
export const usualOf = (backends) => {
  const median = (value) => {
    const values = backends.map(value).filter((each) => each !== null).sort((a, b) => a - b)
    return values.length > 1 ? values[Math.floor((values.length - 1) / 2)] : Infinity
  }
  return {
    p50: median((b) => b.rates.p50_seconds),
    p99: median((b) => b.rates.p99_seconds),
    flight: median((b) => (b.rates.ended ? b.in_flight : null)),
  }
}
