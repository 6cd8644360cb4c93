// The condition of the balancer in the title and the icon of the tab; the twin of condition.py.

import { $ } from './dom.js'
import { MUCH_5XX, TONES } from './tones.js'
import { percent } from './wording.js'

const ENOUGH = 20 // requests in ten seconds; of fewer, the share of failures does not change the title

export const condition = (stats) => {
  const empty = stats.pools.find((p) => p.backends && !p.available)
  const unfit = stats.backends.filter((b) => TONES[b.state] === 'bad').length
  if (empty) return ['bad', `✗ ${empty.name} has nobody`]
  if (unfit) return ['warn', `✗ ${unfit} down`]
  if (stats.draining || stats.stopping) return ['warn', '◌ leaving']
  const { share_5xx: share, ended } = stats.totals.rates
  if (share >= MUCH_5XX && ended >= ENOUGH) return ['warn', `! ${percent(share)} 5xx`]
  return ['ok', '✓']
}

export const showCondition = (tone, words) => {
  const title = `${words} trio-lb`
  if (document.title !== title) document.title = title
  const icon = new URL(`${tone}.svg`, import.meta.url).pathname
  if ($('icon').getAttribute('href') !== icon) $('icon').setAttribute('href', icon)
}
