// How numbers, times and states are written; the twin of wording.py. A test compares what both write.

import { view } from './state.js'
import { TONES, WORKER_TONES } from './tones.js'

export const NOTHING = '–'
const LONGEST_NAME = 28
const LONGEST_TOLD = 30

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

// A quantile of latencies; all that is known of one above the last bucket is that it is above.
export const quantile = (seconds) => (seconds !== null && seconds >= LONGEST_TOLD ? `>${LONGEST_TOLD} s` : took(seconds))

export const besideP50 = (p99) => `p50 · p99 ${quantile(p99)}`.replaceAll(' ', '\u00a0').replace('·\u00a0', '· ')

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

export const clock = (timestamp) => (
  view.isLocal ? new Date(timestamp).toTimeString().slice(0, 8) : timestamp.slice(11, 19)
)

export const beside = (b) => {
  if (b.drain && ['draining', 'leaving'].includes(b.state)) return `${b.drain.remaining} left ${span(b.drain.deadline_seconds)}`
  return TONES[b.state] === 'ok' ? '' : ago(b.state_seconds)
}

export const where = (b) => {
  const labels = Object.entries(b.labels).map(([name, value]) => `${name}=${value}`)
  return [b.url.replace('http://', ''), ...labels].join(' · ')
}

export const found = (b) => {
  if (['config', 'api'].includes(b.source)) return ''
  return b.missing_seconds === null ? b.source : `${b.source} · missing ${ago(b.missing_seconds)}`
}

export const held = (p) => (p.held ? `${p.held} held: their source does not name them` : '')

export const silent = (p) => (p.failing.length ? `no word from ${p.failing.join(', ')}` : '')

export const plainly = (b) => b.why.replace(`${b.id} at ${b.url}: `, '')

export const checked = (checks) => (
  checks && `${checks.replaceAll('x', '').length} of the last ${checks.length} checks passed`
)

// Of a backend `failed` are attempts without a whole answer; most of them are tried again, and no client sees them.
export const mistakes = (codes) => {
  const kinds = [[codes['5xx'], '5xx'], [codes.failed, 'failed'], [codes['4xx'], '4xx']]
  const said = kinds.filter(([count]) => count).map(([count, kind]) => `${rate(count)}\u00a0×\u00a0${kind}`)
  const whole = codes['2xx'] + codes['3xx'] + kinds.reduce((sum, [count]) => sum + count, 0)
  if (said.length) return `${said.join(' ')} of\u00a0${rate(whole)}`
  return whole ? `${rate(whole)}\u00a0ok` : NOTHING
}

// Of a pool only what its clients got is told: a failed request has a status of ours.
export const clientMistakes = (codes) => mistakes({ ...codes, failed: 0 })

// A name that is too long for its place, cut where names are most often alike.
export const middle = (text, most = LONGEST_NAME) => (
  text.length > most ? `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}` : text
)

// What came of an attempt, and how long it took.
export const cameOf = (attempt, r, isLast) => {
  const answered = isLast && !r.error ? String(r.status) : 'ok'
  const word = attempt.error ?? (attempt.is_beaten ? 'beaten' : answered)
  return attempt.ended_ms === null ? word : `${word} · ${took((attempt.ended_ms - attempt.started_ms) / 1000)}`
}

export const least = (values, write) => (values?.length ? `least ${write(Math.min(...values))}` : '')

// The most of a line, which is as high as that.
export const peak = (values, write) => (values?.length ? `peak ${write(Math.max(...values.map((each) => each ?? 0)))}` : '')

export const manned = (p) => {
  if (!p.available) return p.backends ? 'nobody is available: clients get 503' : 'no backends'
  return `${p.available} of ${p.backends} available`
}

export const ofWorker = (w) => {
  const said = [WORKER_TONES[w.state] === 'ok' ? w.state : `${w.state} for ${ago(w.state_seconds)}`]
  said.push(`${rate(w.requests_per_second)} req/s`, `${rate(w.connections)} connections`)
  if (w.loop_lag_p99_seconds !== null) said.push(`late p99 ${quantile(w.loop_lag_p99_seconds)}`)
  if (w.memory_bytes !== null) said.push(`${(w.memory_bytes / 1e6).toFixed(0)} MB`)
  if (w.restarts) said.push(`restarted ${w.restarts}\u00a0×`)
  return said.join(' · ')
}

export const kindOf = (r) => `${r.pool ?? ''} ${r.attempts.at(-1)?.backend ?? ''} ${r.status} ${r.error ?? ''}`

export const alike = (r) => (r.alike > 1 ? `${rate(r.alike)} like this since ${clock(r.alike_since)}` : '')
