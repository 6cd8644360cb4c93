// The tables of backends, one for each pool: rows by id, filtered, folded and sorted.

import { $, Part, all, copyOf, write } from './dom.js'
import { areLines, chooser, isSearch, moreWords, turn } from './folding.js'
import { KEYS, Row, inOrder, usualOf } from './row.js'
import { picked } from './selection.js'
import { backendCalled, latest, remember, view } from './state.js'
import { toneOfPool } from './tones.js'
import { clientMistakes, held, manned, quantile, rate, silent } from './wording.js'

class Pool extends Part {
  constructor(root) {
    super(root)
    this.table = root.querySelector('table')
    this.body = root.querySelector('tbody')
    this.rows = new Map()
    this.usual = usualOf([])
    for (const row of this.body.rows) this.rows.set(row.dataset.id, new Row(row))
  }

  show(p, backends) {
    if (this.shown.of !== p.name) this.call(p.name)
    this.text('policy', p.policy)
    this.text('up', manned(p))
    this.set('up', 'class', `tag ${toneOfPool(p)}`)
    this.fields.panic.hidden = !p.panicking
    for (const [name, words] of [['silent', silent(p)], ['held', held(p)]]) {
      this.text(name, words)
      this.fields[name].hidden = !words
    }
    this.fields.accept.hidden = !p.held
    const { requests_per_second: each, p99_seconds: p99 } = p.rates
    this.text('sum', `${rate(each)} req/s · last minute ${clientMistakes(p.minute)} · ${p.in_flight} in flight · ${p.queued} queued · p99 ${quantile(p99)}`)
    this.take(backends)
    this.usual = usualOf(backends)
    this.arrange()
  }

  call(name) {
    this.shown.of = name
    this.root.dataset.pool = name
    this.table.setAttribute('aria-label', `Backends of ${name}`)
    this.text('name', name)
    this.set('fold', 'aria-label', `Backends of ${name}`)
    this.set('pickall', 'aria-label', `Select all that are shown of ${name}`)
  }

  take(backends) {
    const gone = new Set(this.rows.keys())
    backends.forEach((backend, index) => {
      gone.delete(backend.id)
      let row = this.rows.get(backend.id)
      if (!row) this.rows.set(backend.id, (row = new Row(copyOf('row'))))
      row.order = index
      row.data = backend
    })
    for (const id of gone) {
      this.rows.get(id).root.remove()
      this.rows.delete(id)
    }
  }

  // Only rows in a wrong place are moved: a row that is moved loses the focus. Only what is shown is written.
  arrange() {
    const rows = [...this.rows.values()].filter((row) => row.data)
    rows.sort(inOrder)
    const { pool } = this.root.dataset
    const isChosen = chooser(pool, rows.length, pools.size)
    const folded = []
    let there = this.body.firstElementChild
    for (const row of rows) {
      if (row.root === there) there = there.nextElementSibling
      else this.body.insertBefore(row.root, there)
      const isShown = isChosen(row)
      if (isShown) row.show(this.usual)
      else folded.push(row)
      if (row.fields.pick.checked !== picked.has(row.data.id)) row.fields.pick.checked = !row.fields.pick.checked
      if (row.root.hidden === isShown) row.root.hidden = !isShown
    }
    this.showFolds(rows.length, folded)
  }

  showFolds(count, folded) {
    const { pool } = this.root.dataset
    const isNothing = folded.length === count
    const isLine = areLines(pools.size)
    this.table.hidden = isNothing
    this.table.classList.remove('folded') // that was for the time before
    this.root.classList.toggle('line', isLine && isNothing && !isSearch())
    this.fields.fold.hidden = !isLine
    this.set('fold', 'aria-expanded', String(view.open.has(pool)))
    this.text('more', moreWords(pool, folded, count, pools.size))
    this.fields.more.hidden = !this.shown.more
    this.fields.none.hidden = count > 0
    this.fields.pickall.checked = this.picks().every((row) => picked.has(row.data.id)) && !isNothing
    this.root.hidden = isNothing && count > 0 && isSearch()
  }

  // The rows that are shown.
  picks() {
    return [...this.rows.values()].filter((row) => row.data && !row.root.hidden)
  }
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
  for (const { name } of stats.pools) {
    if (pools.has(name)) continue
    pools.set(name, new Pool(copyOf('pool')))
    $('pools').append(pools.get(name).root)
  }
  for (const p of stats.pools) pools.get(p.name).show(p, byPool.get(p.name))
  showCount()
}

// The row of a backend whose state has changed shows that at once; the other numbers follow within a second.
export const showState = ({ backend, state }) => {
  const b = state && backendCalled(backend)
  if (!b || b.state === state || view.paused || document.hidden) return
  Object.assign(b, { state, state_seconds: 0 })
  const pool = pools.get(b.pool)
  const row = pool?.rows.get(b.id)
  if (row?.data && !row.root.hidden) row.show(pool.usual)
}

const showCount = () => {
  const count = latest.stats ? latest.stats.backends.length : 0
  const shown = [...pools.values()].reduce((sum, pool) => sum + pool.picks().length, 0)
  write('shown', isSearch() ? `${shown} of ${count}` : '')
}

export const arrange = () => {
  for (const pool of pools.values()) pool.arrange()
  showCount()
}

// A click on a heading sorts, another one the other way, a third one not at all.
export const sortBy = (key) => {
  const isFirstDescending = !['id', 'state'].includes(key)
  if (view.sort !== key) [view.sort, view.descending] = [key, isFirstDescending]
  else if (view.descending === isFirstDescending) view.descending = !isFirstDescending
  else view.sort = ''
  showSort()
  arrange()
  remember()
}

const showSort = () => {
  for (const button of all('[data-sort]')) {
    const head = button.parentElement
    if (button.dataset.sort === view.sort) head.setAttribute('aria-sort', view.descending ? 'descending' : 'ascending')
    else head.removeAttribute('aria-sort')
  }
}

// Open or close a pool that is one line, or show all of its rows or the first few.
export const fold = (pool, what) => {
  turn(view[what], pool)
  arrange()
  remember()
}

export const pickAll = (pool, isPicked) => {
  for (const { data } of pools.get(pool).picks()) picked[isPicked ? 'add' : 'delete'](data.id)
  arrange()
}

export const lookForTrouble = (isOnly) => {
  view.troubleOnly = $('failed').checked = isOnly
  arrange()
  remember()
}

$('filter').addEventListener('input', () => {
  view.filter = $('filter').value.trim().toLowerCase()
  arrange()
  remember()
})
$('failed').addEventListener('change', () => lookForTrouble($('failed').checked))

if (!(view.sort in KEYS)) view.sort = ''
$('filter').value = view.filter
$('failed').checked = view.troubleOnly
showSort()
