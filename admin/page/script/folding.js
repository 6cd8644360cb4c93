// What of a pool is shown; folding.py says the same of how the page begins. Where there are many pools each is one
// line, until it is opened; of many rows the first few are shown, until all are asked for. What is not well is always
// shown, and so is what the reader looks for.

import { FINE, rankOf } from './row.js'
import { view } from './state.js'
import { TONES } from './tones.js'

const MANY_POOLS = 4
const MANY_ROWS = 15
const FEW_ROWS = 8

export const isSearch = () => Boolean(view.filter || view.troubleOnly)
export const areLines = (pools) => pools >= MANY_POOLS

// It is not well, or on its way out.
const isOfInterest = ({ data }) => rankOf(data) < FINE || TONES[data.state] === 'drain'

// Says of each row, in order, whether it is shown.
export const chooser = (pool, rows, pools) => {
  if (isSearch()) return (row) => row.matches()
  if (areLines(pools) && !view.open.has(pool)) return isOfInterest
  if (rows < MANY_ROWS || view.whole.has(pool)) return () => true
  let left = FEW_ROWS
  return (row) => left-- > 0 || isOfInterest(row) || TONES[row.data.state] !== 'ok'
}

// The words of the button below the rows, "" where there is nothing to unfold or to fold.
export const moreWords = (pool, folded, rows, pools) => {
  if (isSearch() || rows < MANY_ROWS || (areLines(pools) && !view.open.has(pool))) return ''
  if (!folded.length) return view.whole.has(pool) ? 'Fewer' : ''
  const states = [...new Set(folded.map((row) => row.data.state))]
  if (states.length === 1) return `${folded.length} more, all ${states[0]}`
  const counts = states.map((state) => `${folded.filter((row) => row.data.state === state).length} ${state}`)
  return `${folded.length} more: ${counts.join(', ')}`
}

export const turn = (set, pool) => (set.delete(pool) ? set : set.add(pool))
