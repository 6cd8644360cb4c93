// The backends that are selected, and the bar with what can be done to all of them at once.

import { openAct } from './act_dialog.js'
import { $, all, write } from './dom.js'
import { backendCalled, latest } from './state.js'

export const picked = new Set() // ids

export const showPicked = () => {
  if (latest.stats) for (const id of picked) if (!backendCalled(id)) picked.delete(id)
  $('picked').hidden = !picked.size
  write('picked-count', `${picked.size} selected`)
}

export const pick = (id, isPicked) => {
  picked[isPicked ? 'add' : 'delete'](id)
  showPicked()
}

// Those with which it went well are not selected any more.
$('picked').addEventListener('click', (event) => {
  const { act } = event.target.dataset
  if (!act) return
  if (act === 'clear') {
    picked.clear()
    for (const box of all('[data-f=pick], [data-f=pickall]')) box.checked = false
    showPicked()
    return
  }
  openAct(act, [...picked].map(backendCalled).filter(Boolean), (id) => pick(id, false))
})
