// The panels of certificates and of refused handshakes, hidden without TLS; the twin of tls_panels.py.

import { call } from './api.js'
import { $, element, svg, write } from './dom.js'
import { view } from './state.js'
import { change } from './toast.js'
import { NOTHING, percent, rate } from './wording.js'

const MOST_CERTIFICATES = 8
const REFRESH_MS = 10000
const STAGE_TONES = { valid: 'ok', expiring: 'warn', critical: 'bad', expired: 'bad', 'not yet valid': 'bad' }

const left = (c) => {
  if (c.days_left <= 0) return 'nothing left'
  const span = c.days_left >= 2 ? `${Math.floor(c.days_left)} days` : `${Math.floor(c.days_left * 24)} h`
  return `${span} left, ${percent(c.lifetime_left)} of its life`
}

const orderTrouble = (order) => (order?.error ? ' · its order fails' : '')

const ofCertificate = (c) => {
  const stage = c.stage === 'valid' ? '' : `${c.stage} · `
  const routes = c.routes_count === 1 ? 'route' : 'routes'
  const served = c.routes_count ? ` · ${c.routes_count} ${routes}` : ''
  const trouble = c.error ? ' · its files cannot be used' : ''
  return `${stage}${left(c)} · until ${c.not_after.slice(0, 10)}${served}${trouble}${orderTrouble(c.renewal)}`
}

const ofAll = (found) => {
  const said = []
  const more = found.total - found.items.length
  if (more > 0) said.push(`${more} more end later`)
  const named = found.uncovered.slice(0, 3).join(', ')
  if (found.uncovered_count) said.push(`no certificate for ${named}${found.uncovered_count > 3 ? ' ...' : ''}`)
  if (found.error) said.push('what is in the files cannot be used')
  return said.join(' · ')
}

const certificateRow = (c) => {
  const bar = svg('svg', { class: 'bar', 'aria-hidden': 'true' })
  bar.append(svg('rect', { width: `${Number((c.lifetime_left * 100).toPrecision(4))}%`, height: '100%' }))
  const line = element('li', '', c.error ? 'bad' : STAGE_TONES[c.stage])
  const about = [c.issuer, `${c.key_type} ${c.key_bits}`, c.error, c.renewal?.error, ...c.warnings]
  line.title = about.filter(Boolean).join('\n')
  line.append(element('b', c.id), bar, element('span', ofCertificate(c)))
  if (c.renewal) line.append(renewButton(c.renewal.name))
  return line
}

const renewButton = (name) => {
  const button = element('button', 'Renew')
  button.type = 'button'
  button.title = `Order a new certificate for ${name}, as soon as its authorities allow`
  button.addEventListener('click', () => change(`${name} is ordered`, 'POST', `/certificates/${encodeURIComponent(name)}/renew`))
  return button
}

const orderRow = (order) => {
  const line = element('li', '', order.error ? 'bad' : 'warn')
  line.append(element('b', order.name), element('span', order.error ?? 'ordered, and not there yet'), renewButton(order.name))
  return line
}

const refusedRows = ({ items, refused }) => {
  const counts = new Map()
  for (const { reason, count } of refused) counts.set(reason, (counts.get(reason) ?? 0) + count)
  return [...counts].sort((a, b) => b[1] - a[1]).map(([reason, count]) => {
    const newest = items.find((each) => each.reason === reason)
    const line = element('li', '', 'warn')
    line.title = newest?.help ?? ''
    line.append(element('b', `${rate(count)} × ${reason}`), element('span', newest?.sentence ?? NOTHING))
    return line
  })
}

const ofHandshakes = ({ refused, done }) => {
  const sum = (counts) => counts.reduce((all, each) => all + each.count, 0)
  const whole = sum(refused) + sum(done)
  return whole ? `${rate(sum(refused))} of ${rate(whole)} since the start` : 'none yet'
}

let isServed = false
export const refreshTls = async () => {
  try {
    const found = await (await call('GET', `/certificates?limit=${MOST_CERTIFICATES}`)).json()
    isServed = found.listeners.length > 0
    $('tls').hidden = $('shaken').hidden = !isServed
    if (!isServed) return
    const log = await (await call('GET', '/handshakes')).json()
    $('certificates').replaceChildren(...found.ordered.map(orderRow), ...found.items.map(certificateRow))
    write('of-certificates', ofAll(found))
    $('refusals').replaceChildren(...refusedRows(log))
    write('of-handshakes', ofHandshakes(log))
  } catch { /* the next look asks again */ }
}

setInterval(() => {
  if (isServed && !view.paused && !document.hidden) refreshTls()
}, REFRESH_MS)
