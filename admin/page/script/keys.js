// The keys of the page, and the dialog that lists them.

import { openAdd } from './add_dialog.js'
import { $ } from './dom.js'
import { mayChange } from './state.js'
import { lookForTrouble } from './table.js'

export const listenForKeys = (pause) => {
  const keys = {
    '/': (event) => {
      event.preventDefault()
      $('filter').focus()
    },
    p: pause,
    t: () => lookForTrouble(!$('failed').checked),
    a: (event) => mayChange() && openAdd(event),
    '?': () => $('keys').showModal(),
  }
  document.addEventListener('keydown', (event) => {
    if (event.target.closest('input, select, dialog') || event.ctrlKey || event.metaKey || event.altKey) return
    keys[event.key]?.(event)
  })
  $('help').addEventListener('click', () => $('keys').showModal())
}
