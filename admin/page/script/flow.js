// The flow: clients to pools to backends, each line as wide as its share of the requests. Of many backends those in
// trouble are drawn, and those that have the most.

import { $, svg } from './dom.js'
import { rankOf } from './row.js'
import { TONES } from './tones.js'
import { middle, percent } from './wording.js'

const MOST_ROWS = 10
const ROW_HEIGHT = 22
const LONGEST = { pool: 18, backend: 13, narrow: 9 }

let drawnFor = ''
export const showFlow = (stats) => {
  const flow = $('flow')
  $('flows').hidden = !stats.backends.length
  const isNarrow = flow.clientWidth < 420
  const width = Math.max(280, Math.round(flow.clientWidth))
  const { groups, height, isBusy } = laidOut(stats)
  const is = JSON.stringify([width, isBusy, groups], (_, value) => value?.toFixed?.(2) ?? value)
  if (is === drawnFor) return
  drawnFor = is
  const x = { clients: isNarrow ? 52 : 62, pool: width * 0.45, backend: width - (isNarrow ? 104 : 150), end: width }
  flow.setAttribute('viewBox', `0 0 ${width} ${height}`)
  flow.setAttribute('height', height)
  flow.replaceChildren(...drawn(groups, x, (height - 8) / 2, isBusy, isNarrow ? LONGEST.narrow : LONGEST.backend))
}

// Where each pool and each of its backends stands; of many backends the rest is one line.
const laidOut = (stats) => {
  const used = stats.pools.filter((p) => p.backends)
  const most = stats.backends.length <= MOST_ROWS ? MOST_ROWS : Math.max(1, Math.floor(MOST_ROWS / used.length))
  const total = used.reduce((sum, p) => sum + p.rates.requests_per_second, 0)
  const groups = []
  let y = 18
  for (const p of used) {
    const weight = total ? p.rates.requests_per_second / total : 1 / used.length
    const backends = stats.backends.filter((b) => b.pool === p.name)
    if (backends.length > most) backends.sort((a, b) => rankOf(a) - rankOf(b) || (b.share ?? 0) - (a.share ?? 0))
    const shown = backends.slice(0, backends.length > most ? most - 1 || 1 : most)
    const rest = backends.slice(shown.length)
    const top = y
    const ends = shown.map((b) => {
      const share = p.rates.requests_per_second ? (b.share ?? 0) : b.expected_share
      return { label: b.id, share: share * weight, tone: TONES[b.state] ?? 'warn', words: percent(share) }
    })
    if (rest.length) {
      const share = rest.reduce((sum, b) => sum + (b.share ?? 0), 0)
      ends.push({ label: `${rest.length} others`, share: share * weight, tone: 'ok', words: percent(share) })
    }
    for (const end of ends) {
      end.y = y
      y += ROW_HEIGHT
    }
    groups.push({ name: p.name, weight, at: (top + y - ROW_HEIGHT) / 2, ends })
    y += 10
  }
  return { groups, height: Math.max(60, y - 8), isBusy: total > 0 }
}

const drawn = (groups, x, centre, isBusy, longest) => {
  const line = (x1, y1, x2, y2, share, tone) => {
    const bend = (x1 + x2) / 2
    const stroke = share ? Math.max(1.25, share * 26).toFixed(1) : 1
    const d = `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`
    return svg('path', { d, 'stroke-width': stroke, class: `${tone}${share && isBusy ? '' : ' idle'}` })
  }
  const word = (at, y, text, className = '') => {
    const made = svg('text', { x: at, y: y + 4, class: className })
    made.textContent = text
    return made
  }
  const shapes = []
  for (const { name, weight, at, ends } of groups) {
    shapes.push(line(x.clients, centre, x.pool, at, weight, 'ok'))
    for (const end of ends) shapes.push(line(x.pool, at, x.backend, end.y, end.share, end.tone))
    shapes.push(svg('circle', { cx: x.pool, cy: at, r: 5 }), word(x.pool, at - 15 - weight * 8, middle(name, LONGEST.pool), 'mid'))
    for (const end of ends) {
      shapes.push(word(x.backend + 8, end.y, middle(end.label, longest), end.tone), word(x.end, end.y, end.words, 'end'))
    }
  }
  shapes.push(svg('circle', { cx: x.clients, cy: centre, r: 5 }), word(x.clients - 10, centre, 'clients', 'end'))
  return shapes
}
