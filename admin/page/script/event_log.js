// The event log, and the live region that screen readers read out; the twin of event_log.py.

import { $, element, write } from './dom.js'
import { EVENT_TONES } from './tones.js'
import { clock, took } from './wording.js'

const MOST_LINES = 200

export const announce = (text) => write('told', text)

const detailOf = (event) => {
  if (event.kind === 'drained') return `in ${took(event.duration_seconds)}, ${event.aborted} cut`
  return 'started_with' in event ? `${event.remaining} in flight` : event.detail
}

export const subjectOf = (event) => event.backend ?? (event.pool === undefined ? 'balancer' : `pool ${event.pool}`)

export const log = (event) => {
  const detail = detailOf(event)
  const line = element('li', '', EVENT_TONES[event.kind] ?? '')
  const time = element('time', clock(event.at))
  time.dateTime = event.at
  line.append(time, element('b', subjectOf(event)), element('span', detail ? `${event.kind} · ${detail}` : event.kind))
  $('log').prepend(line)
  if ($('log').childElementCount > MOST_LINES) $('log').lastElementChild.remove()
}
