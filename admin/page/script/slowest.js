// The slowest requests of the last hour, as `lb why --slow --status 2xx` has them: those that failed are told
// elsewhere. They are asked for now and then.

import { call, lacking } from './api.js'
import { $, write } from './dom.js'
import { RecordedList } from './recorded.js'
import { latest, view } from './state.js'

const REFRESH_MS = 10000

export const slowestPath = (limit, more = {}) => `/requests?${new URLSearchParams({ slow: 1, status: '2xx', since: '1h', limit, ...more })}`

const MOST = 8
const list = new RecordedList($('slowest'), true)

export const refreshSlowest = async () => {
  if (view.paused || document.hidden) return
  try {
    const answer = await call('GET', slowestPath(MOST))
    const { items } = await answer.json()
    list.show(items)
    $('no-slowest').hidden = items.length > 0
    $('slowest-missing').hidden = !lacking(answer)
    write('slowest-missing', lacking(answer))
  } catch { /* the next look asks again */ }
}

setInterval(() => latest.stats && refreshSlowest(), REFRESH_MS)
