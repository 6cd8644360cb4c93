// Requests that run now, in a list: what each waits for, and a button to end it. A row stays where it is while its
// request runs, so that a button does not vanish under the pointer.

import { call, wrong } from './api.js'
import { Part, copyOf } from './dom.js'
import { ago } from './wording.js'

const END_MS = 300 // for what was told to end

// `ending` hears of the path that is called, `ended` of what went wrong, or "" a little later.
export class RunningList {
  constructor(root, ending, ended) {
    Object.assign(this, { root, ending, ended })
    this.rows = new Map()
  }

  // Those that run longest come first; `backend` is the only one, or "".
  show(items, backend) {
    const running = new Set(items.map((r) => r.id))
    for (const [id, row] of this.rows) {
      if (running.has(id)) continue
      row.root.remove()
      this.rows.delete(id)
    }
    let there = this.root.firstElementChild
    for (const r of items) {
      const row = this.rows.get(r.id) ?? this.add(r)
      row.text('phase', `${r.phase} for ${ago(r.phase_seconds)}`)
      row.text('facts', factsOf(r, backend))
      if (row.root === there) there = there.nextElementSibling
      else this.root.insertBefore(row.root, there)
    }
  }

  add(r) {
    const row = new Part(copyOf('running-row'))
    row.text('what', `${r.method} ${r.target}`)
    row.set('end', 'aria-label', `End ${r.method} ${r.target} from ${r.client}`)
    row.fields.end.addEventListener('click', () => this.end(r.id, row.fields.end))
    this.rows.set(r.id, row)
    return row
  }

  async end(id, button) {
    const path = `/requests/${encodeURIComponent(id)}`
    button.disabled = true
    this.ending(path)
    try {
      await call('DELETE', path)
    } catch (error) {
      this.ended(wrong(error))
      return
    }
    setTimeout(() => this.ended(''), END_MS)
  }
}

const factsOf = (r, backend) => {
  const waits = r.waits_for && `waits for ${r.waits_for}`
  const on = backend ? '' : (r.backend ?? '')
  return [waits, on, `${ago(r.seconds)} in all`, `from ${r.client}`, r.id].filter(Boolean).join(' · ')
}

export const runningPath = (backend, limit) => {
  const query = new URLSearchParams({ running: 1, limit })
  if (backend) query.set('backend', backend)
  return `/requests?${query}`
}
