// The tables of backends, one for each pool: rows by id, filtered and sorted.

import { backendPath } from './api.js'
import { $, Part, all, copyOf, write } from './dom.js'
import { drained, part, stack, ticks } from './shapes.js'
import { latest, view } from './state.js'
import { TONES, toneOfPool } from './tones.js'
import { beside, checked, manned, mistakes, percent, plainly, rate, took, where } from './wording.js'

class Row extends Part {
  constructor(root) {
    super(root)
    this.order = 0
  }

  show(b) {
    if (this.shown.id !== b.id) this.name(b)
    this.data = b
    this.tone(TONES[b.state] ?? 'warn')
    this.text('where', where(b))
    this.set('where', 'title', this.shown.where)
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
    this.text('p50', took(b.rates.p50_seconds))
    this.text('p99', took(b.rates.p99_seconds))
  }

  name(b) {
    this.root.dataset.id = b.id
    this.text('id', b.id)
    this.fields.weight.setAttribute('aria-label', `Weight of ${b.id}`)
    for (const button of all('[data-act]', this.root)) {
      const { act } = button.dataset
      button.setAttribute('aria-label', act === 'running' ? `Requests on ${b.id}` : `${button.textContent} ${b.id}`)
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
  }

  matches() {
    const { id, state, why, pool } = this.data
    if (view.failedOnly && !['bad', 'warn'].includes(TONES[state])) return false
    return !view.filter || `${id} ${this.shown.where} ${state} ${why} ${pool}`.toLowerCase().includes(view.filter)
  }
}

class Pool extends Part {
  constructor(root) {
    super(root)
    this.body = root.querySelector('tbody')
    this.rows = new Map()
    for (const row of this.body.rows) this.rows.set(row.dataset.id, new Row(row))
  }

  show(p, backends) {
    if (this.root.dataset.pool !== p.name) {
      this.root.dataset.pool = p.name
      this.root.querySelector('table').setAttribute('aria-label', `Backends of ${p.name}`)
    }
    this.text('name', p.name)
    this.text('policy', p.policy)
    this.text('up', manned(p))
    this.set('up', 'class', `tag ${toneOfPool(p)}`)
    this.fields.panic.hidden = !p.panicking
    const { requests_per_second: each, p99_seconds: p99 } = p.rates
    this.text('sum', `${rate(each)} req/s · last minute ${mistakes(p.minute)} · ${p.in_flight} in flight · ${p.queued} queued · p99 ${took(p99)}`)
    this.showRows(backends)
    this.arrange()
  }

  showRows(backends) {
    const gone = new Set(this.rows.keys())
    backends.forEach((backend, index) => {
      gone.delete(backend.id)
      let row = this.rows.get(backend.id)
      if (!row) this.rows.set(backend.id, (row = new Row(copyOf('row'))))
      row.order = index
      row.show(backend)
    })
    for (const id of gone) {
      this.rows.get(id).root.remove()
      this.rows.delete(id)
    }
  }

  // Only rows in a wrong place are moved: a row that is moved loses the focus.
  arrange() {
    const rows = [...this.rows.values()].filter((row) => row.data)
    rows.sort(inOrder)
    let there = this.body.firstElementChild
    let count = 0
    for (const row of rows) {
      if (row.root === there) there = there.nextElementSibling
      else this.body.insertBefore(row.root, there)
      const isShown = row.matches()
      count += isShown
      if (row.root.hidden === isShown) row.root.hidden = !isShown
    }
    this.fields.none.hidden = count > 0
    this.text('none', this.rows.size ? 'None of them matches.' : 'No backend yet.')
    this.root.hidden = count === 0 && this.rows.size > 0 && (view.filter || view.failedOnly)
  }
}

const KEYS = {
  id: (b) => b.id, state: (b) => Object.keys(TONES).indexOf(b.state), weight: (b) => b.weight,
  flight: (b) => b.in_flight, rps: (b) => b.rates.requests_per_second, share: (b) => b.share ?? -1,
  codes: (b) => b.minute['5xx'] + b.minute.failed, p50: (b) => b.rates.p50_seconds ?? -1,
  p99: (b) => b.rates.p99_seconds ?? -1,
}
const inOrder = (one, other) => {
  if (!view.sort) return one.order - other.order
  const [a, b] = [KEYS[view.sort](one.data), KEYS[view.sort](other.data)]
  const by = typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a - b
  return (view.descending ? -by : by) || one.order - other.order
}

const pools = new Map([...all('.pool')].map((root) => [root.dataset.pool, new Pool(root)]))

export const showPools = (stats) => {
  const byPool = new Map(stats.pools.map((p) => [p.name, []]))
  for (const backend of stats.backends) byPool.get(backend.pool)?.push(backend)
  for (const [name, pool] of pools) {
    if (byPool.has(name)) continue
    pool.root.remove()
    pools.delete(name)
  }
  for (const p of stats.pools) {
    let pool = pools.get(p.name)
    if (!pool) {
      pool = new Pool(copyOf('pool'))
      pools.set(p.name, pool)
      $('pools').append(pool.root)
    }
    pool.show(p, byPool.get(p.name))
  }
  showCount()
}

// The row of a backend whose state has changed shows that at once; the other numbers follow within a second.
export const showState = ({ backend, state }) => {
  const b = state && latest.stats?.backends.find((each) => each.id === backend)
  if (!b || b.state === state || view.paused || document.hidden) return
  Object.assign(b, { state, state_seconds: 0 })
  pools.get(b.pool)?.rows.get(b.id)?.show(b)
}

const showCount = () => {
  const count = latest.stats ? latest.stats.backends.length : 0
  const rows = [...pools.values()].flatMap((pool) => [...pool.rows.values()])
  const shown = rows.filter((row) => !row.root.hidden).length
  write('shown', shown === count ? '' : `${shown} of ${count}`)
}

const arrange = () => {
  for (const pool of pools.values()) pool.arrange()
  showCount()
}

// A click on a heading sorts, another one the other way, a third one not at all.
export const sortBy = (key) => {
  const isFirstDescending = !['id', 'state'].includes(key)
  if (view.sort !== key) [view.sort, view.descending] = [key, isFirstDescending]
  else if (view.descending === isFirstDescending) view.descending = !isFirstDescending
  else view.sort = ''
  for (const button of all('[data-sort]')) {
    const head = button.parentElement
    if (button.dataset.sort === view.sort) head.setAttribute('aria-sort', view.descending ? 'descending' : 'ascending')
    else head.removeAttribute('aria-sort')
  }
  arrange()
}

$('filter').addEventListener('input', () => {
  view.filter = $('filter').value.trim().toLowerCase()
  arrange()
})
$('failed').addEventListener('change', () => {
  view.failedOnly = $('failed').checked
  arrange()
})
