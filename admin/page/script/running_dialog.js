// The dialog with the requests that run now, of all backends or of one: what each waits for, and a button to end
// it. The list is only asked for when the dialog opens, when something was ended, and by its own button.

import { call, curl, wrong } from './api.js'
import { $, Part, copyOf, write } from './dom.js'
import { ago } from './wording.js'

const MOST = 50
const END_MS = 300 // for what was told to end

const dialog = $('running')
let backend = ''

export const openRunning = (id = '') => {
  backend = id
  write('running-title', id ? `Requests on ${id}` : 'Running requests')
  write('running-none', '')
  $('running-list').replaceChildren()
  showCommand(...request())
  dialog.showModal()
  refresh()
}

const request = () => {
  const query = new URLSearchParams({ running: 1, limit: MOST })
  if (backend) query.set('backend', backend)
  return ['GET', `/requests?${query}`]
}

const showCommand = (method, path) => {
  dialog.querySelector('.curl code').textContent = curl(method, path)
}

const refresh = async () => {
  try {
    show(await (await call(...request())).json())
    write('running-error', '')
  } catch (error) {
    write('running-error', wrong(error))
  }
}

const show = ({ items, total }) => {
  $('running-list').replaceChildren(...items.map(rowOf))
  const more = total - items.length
  write('running-none', total ? (more > 0 ? `and ${more} more` : '') : 'None runs now.')
}

const rowOf = (r) => {
  const row = new Part(copyOf('running-row'))
  row.text('what', `${r.method} ${r.target}`)
  row.text('phase', `${r.phase} for ${ago(r.phase_seconds)}`)
  const waits = r.waits_for && `waits for ${r.waits_for}`
  const on = backend ? '' : (r.backend ?? '')
  row.text('facts', [waits, on, `${ago(r.seconds)} in all`, `from ${r.client}`, r.id].filter(Boolean).join(' · '))
  row.set('end', 'aria-label', `End ${r.method} ${r.target} from ${r.client}`)
  row.fields.end.addEventListener('click', () => end(r.id, row.fields.end))
  return row.root
}

const end = async (id, button) => {
  const path = `/requests/${encodeURIComponent(id)}`
  button.disabled = true
  showCommand('DELETE', path)
  try {
    await call('DELETE', path)
  } catch (error) {
    write('running-error', wrong(error))
    return
  }
  setTimeout(refresh, END_MS)
}

$('runs').addEventListener('click', () => openRunning())
$('running-again').addEventListener('click', refresh)
