// The dialog with the requests that run now, of all backends or of one. The list is only asked for when the dialog
// opens, when something was ended, and by its own button.

import { call, curl, lacking, wrong } from './api.js'
import { $, write } from './dom.js'
import { RunningList, runningPath } from './running_list.js'

const MOST = 50

const dialog = $('running')
let backend = ''

export const openRunning = (id = '') => {
  backend = id
  write('running-title', id ? `Requests on ${id}` : 'Running requests')
  write('running-none', '')
  write('running-missing', '')
  list.show([], id)
  showCommand('GET', runningPath(backend, MOST))
  dialog.showModal()
  refresh()
}

const showCommand = (method, path) => {
  dialog.querySelector('.curl code').textContent = curl(method, path)
}

const refresh = async () => {
  try {
    const answer = await call('GET', runningPath(backend, MOST))
    show(await answer.json())
    write('running-missing', lacking(answer))
    write('running-error', '')
  } catch (error) {
    write('running-error', wrong(error))
  }
}

const ended = (mistake) => (mistake ? write('running-error', mistake) : refresh())
const list = new RunningList($('running-list'), (path) => showCommand('DELETE', path), ended)

const show = ({ items, total }) => {
  list.show(items, backend)
  const more = total - items.length
  write('running-none', total ? (more > 0 ? `and ${more} more` : '') : 'None runs now.')
}

$('runs').addEventListener('click', () => openRunning())
$('running-again').addEventListener('click', refresh)
