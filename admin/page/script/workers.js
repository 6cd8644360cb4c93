// The panel of the worker processes, which is hidden where one process does all.

import { $, element } from './dom.js'
import { WORKER_TONES } from './tones.js'
import { ofWorker } from './wording.js'

export const showWorkers = ({ workers }) => {
  $('crew').hidden = !workers.length
  const list = $('workers')
  workers.forEach((w, index) => {
    const line = list.children[index] ?? list.appendChild(element('li'))
    const text = ofWorker(w)
    if (line.lastElementChild?.textContent === text && line.title === `pid ${w.pid}`) return
    line.className = WORKER_TONES[w.state]
    line.title = `pid ${w.pid}`
    line.replaceChildren(element('b', `worker ${w.worker}`), element('span', text))
  })
}
