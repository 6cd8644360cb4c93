// Failed requests: the newest of each kind. Those of long ago are paler.

import { call, lacking } from './api.js'
import { $, copyOf, write } from './dom.js'
import { Recorded } from './recorded.js'
import { latest, view } from './state.js'
import { alike, kindOf } from './wording.js'

const MOST = 30
const REFRESH_MS = 800
const OLD_MS = 300000

const now = () => (latest.stats ? Date.parse(latest.stats.at) : Date.now())

const isOld = (shown) => now() - shown.ended > OLD_MS

const failures = new Map() // by kind
for (const root of $('failures').children) failures.set(root.dataset.id, new Recorded(root))

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
    const shown = known ?? new Recorded(copyOf('recorded'))
    failures.set(kindOf(r), shown)
    shown.text('alike', alike(r))
    if (!shown.root.open) shown.show(r)
    shown.root.classList.toggle('old', isOld(shown))
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
      $('failures-missing').hidden = !lacking(answer)
      write('failures-missing', lacking(answer))
    } catch { /* the next event asks again */ }
  }, REFRESH_MS)
}

$('failures').addEventListener('toggle', (event) => {
  if (!event.target.open) refreshFailures() // a newer one may be shown now
}, true)
