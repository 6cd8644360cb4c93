// A request that somebody quotes by its id: what became of it, whether it failed or not.

import { call, wrong } from './api.js'
import { $, write } from './dom.js'
import { RecordedList } from './recorded.js'
import { took } from './wording.js'

export const listenForIds = () => {
  const list = new RecordedList($('found'), false)
  $('find').addEventListener('submit', async (event) => {
    event.preventDefault()
    list.clear()
    try {
      const r = await (await call('GET', `/requests/${encodeURIComponent($('find-id').value.trim())}`)).json()
      const runs = 'phase' in r
      write('find-error', runs ? `It runs: ${r.phase} for ${took(r.phase_seconds)}.` : '')
      if (runs) return
      list.show([r])
      $('found').firstElementChild.open = true
    } catch (error) {
      write('find-error', wrong(error))
    }
  })
}
