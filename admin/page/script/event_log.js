// The event log, and the live region that screen readers read out; the twin of event_log.py.

import { $, element, write } from './dom.js'
import { EVENT_TONES } from './tones.js'
import { clock, took } from './wording.js'

const MOST_LINES = 200
const NOBODY = ['anonymous', undefined] // where no token is needed, no name is known

export const logged = [] // the events, the newest last

export const announce = (text) => write('told', text)

const detailOf = (event) => {
  if (event.kind === 'drained') return `in ${took(event.duration_seconds)}, ${event.aborted} cut`
  return 'started_with' in event ? `${event.remaining} in flight` : event.detail
}

const whatOf = (event) => {
  const by = NOBODY.includes(event.by) ? '' : `by ${event.by}`
  return [event.kind, detailOf(event), by].filter(Boolean).join(' · ')
}

export const subjectOf = (event) => {
  if (event.worker !== undefined) return `worker ${event.worker}`
  if (event.certificate !== undefined) return event.certificate || 'certificates'
  if (event.next_attempt !== undefined) return event.name || 'balancer'
  return event.backend ?? (event.pool === undefined ? 'balancer' : `pool ${event.pool}`)
}

export const logLine = (event) => {
  const line = element('li', '', EVENT_TONES[event.kind] ?? '')
  const time = element('time', clock(event.at))
  time.dateTime = event.at
  line.append(time, element('b', subjectOf(event)), element('span', whatOf(event)))
  return line
}

export const log = (event) => {
  logged.push(event)
  if (logged.length > MOST_LINES) logged.shift()
  $('log').prepend(logLine(event))
  if ($('log').childElementCount > MOST_LINES) $('log').lastElementChild.remove()
}
