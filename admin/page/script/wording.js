// How numbers, times and states are written; the twin of wording.py. A test compares what both write.

import { TONES } from './tones.js'

export const NOTHING = '–'

export const rate = (value) => {
  if (value === null || value === undefined) return NOTHING
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1)
}

export const percent = (share) => {
  if (share === null) return NOTHING
  return share > 0 && share < 0.0995 ? `${(share * 100).toFixed(1)}%` : `${(share * 100).toFixed(0)}%`
}

export const took = (seconds) => {
  if (seconds === null) return NOTHING
  if (seconds >= 9.95) return `${seconds.toFixed(0)} s`
  if (seconds >= 0.9995) return `${seconds.toFixed(1)} s`
  return seconds >= 0.00995 ? `${(seconds * 1000).toFixed(0)} ms` : `${(seconds * 1000).toFixed(1)} ms`
}

export const span = (seconds) => {
  if (seconds === null) return ''
  const whole = Math.floor(seconds)
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (number) => String(number).padStart(2, '0')
  if (hours >= 24) return `${Math.floor(hours / 24)}d ${hours % 24}h`
  return hours ? `${hours}h ${two(minutes)}m` : `${minutes}:${two(rest)}`
}

export const ago = (seconds) => {
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`
  }
  return `${Math.floor(seconds)} s`
}

export const clock = (timestamp) => timestamp.slice(11, 19)

export const beside = (b) => {
  if (b.drain && b.state === 'draining') return `${b.drain.remaining} left ${span(b.drain.deadline_seconds)}`
  return TONES[b.state] === 'ok' ? '' : ago(b.state_seconds)
}

export const where = (b) => {
  const labels = Object.entries(b.labels).map(([name, value]) => `${name}=${value}`)
  return [b.url.replace('http://', ''), ...labels].join(' · ')
}

export const plainly = (b) => b.why.replace(`${b.id} at ${b.url}: `, '')

export const checked = (checks) => (
  checks && `${checks.replaceAll('x', '').length} of the last ${checks.length} checks passed`
)

export const mistakes = (codes) => {
  const broken = codes['5xx'] + codes.failed
  const said = []
  if (broken) said.push(`${rate(broken)}\u00a0×\u00a05xx`)
  if (codes['4xx']) said.push(`${rate(codes['4xx'])}\u00a0×\u00a04xx`)
  const whole = codes['2xx'] + codes['3xx'] + codes['4xx'] + broken
  if (said.length) return `${said.join(' ')} of\u00a0${rate(whole)}`
  return whole ? `${rate(whole)}\u00a0ok` : NOTHING
}

export const manned = (p) => {
  if (!p.available) return p.backends ? 'nobody is available: clients get 503' : 'no backends'
  return `${p.available} of ${p.backends} available`
}

export const kindOf = (r) => `${r.pool ?? ''} ${r.attempts.at(-1)?.backend ?? ''} ${r.status} ${r.error ?? ''}`

export const alike = (r) => (r.alike > 1 ? `${rate(r.alike)} like this since ${clock(r.alike_since)}` : '')
