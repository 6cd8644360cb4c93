// The strip of what is wrong, above the backends; the twin of trouble_strip.py.

import { openAct } from './act_dialog.js'
import { $, Part, all, copyOf, element, write } from './dom.js'
import { openOne } from './own_view.js'
import { backendCalled, mayDrain } from './state.js'

const MOST = 5
const WARNINGS = new Set(['slow', 'slow tail', 'drain', 'certificate', 'renewal', 'ejected', 'late', 'panic', 'queue', 'source', 'held'])

const toneOfTrouble = (kind) => (WARNINGS.has(kind) ? 'warn' : 'bad')

class Line extends Part {
  show(t) {
    this.backend = t.backend
    this.tone(toneOfTrouble(t.kind))
    this.text('sentence', t.sentence)
    this.advise(t.advice)
    const b = backendCalled(t.backend)
    this.fields.show.hidden = !b
    this.fields.show.setAttribute('aria-label', `Show ${t.backend}`)
    this.fields.drain.hidden = !b?.available || !mayDrain()
    this.fields.drain.setAttribute('aria-label', `Drain ${t.backend}`)
  }

  // Commands stand in backquotes.
  advise(advice) {
    if (this.shown.advice === advice) return
    this.shown.advice = advice
    this.fields.advice.replaceChildren(...advice.split('`').map((part, at) => (at % 2 ? element('code', part) : part)))
  }
}

const lines = []

export const showTrouble = ({ trouble }) => {
  const shown = trouble.slice(0, MOST)
  $('trouble').hidden = !shown.length
  if (!lines.length) $('troubles').replaceChildren() // those of the server
  while (lines.length < shown.length) lines.push(new Line($('troubles').appendChild(copyOf('trouble-row'))))
  while (lines.length > shown.length) lines.pop().root.remove()
  shown.forEach((each, index) => lines[index].show(each))
  const more = trouble.length - MOST
  write('more-troubles', more > 0 ? `${more} more: GET /trouble` : '')
}

$('troubles').addEventListener('click', (event) => {
  const button = event.target.closest('[data-go]')
  const line = button && lines.find((each) => each.root.contains(button))
  const b = line && backendCalled(line.backend)
  if (!b) return
  if (button.dataset.go === 'drain') openAct('drain', [b])
  else reveal(b.id)
})

// Bring the row of a backend into sight, which its trouble keeps unfolded, and open its own view.
const reveal = (id) => {
  const row = [...all('tr[data-id]')].find((each) => each.dataset.id === id)
  row?.scrollIntoView({ block: 'center' })
  openOne(id)
}
