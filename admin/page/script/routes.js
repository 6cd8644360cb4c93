// The panel of routes: which requests go to which pool, and the way that a URL would take. The routes are asked for at
// the start and after each reload.

import { call, curl, wrong } from './api.js'
import { $, element, write } from './dom.js'

const MOST = 20
const MOST_BACKENDS = 5

const lineOf = ({ host, path, pool }) => {
  const line = element('li')
  line.append(element('b', `${host ?? 'any host'} ${path}`), element('span', `→ ${pool}`))
  return line
}

export const refreshRoutes = async () => {
  try {
    const { items, total } = await (await call('GET', `/routes?limit=${MOST}`)).json()
    $('routes').replaceChildren(...items.map(lineOf))
    write('more-routes', total > items.length ? `${total - items.length} more` : '')
  } catch { /* the next reload asks again */ }
}

// The words of `lb route`.
const candidate = ({ id, backup, why_not: why }) => {
  const line = element('li', '', why ? 'off' : 'ok')
  line.append(element('b', id), element('span', why ? `no: ${why}` : backup ? 'as a backup' : 'could take it'))
  return line
}

const mark = (taken) => [...$('routes').children].forEach((line, at) => {
  line.className = at + 1 === taken?.number ? 'ok' : ''
})

const showWay = ({ explain, route, backends, backends_total: total }) => {
  const shown = backends.slice(0, MOST_BACKENDS)
  mark(route)
  write('way-says', explain)
  $('way').replaceChildren(...shown.map(candidate))
  if (total > shown.length) $('way').append(element('li', `and ${total - shown.length} more`))
}

$('try').addEventListener('submit', async (event) => {
  event.preventDefault()
  const path = `/route?${new URLSearchParams({ url: $('try-url').value })}`
  $('tried').hidden = false
  $('tried').querySelector('code').textContent = curl('GET', path)
  try {
    const way = await (await call('GET', path)).json()
    write('try-error', '')
    showWay(way)
  } catch (error) {
    showWay({ explain: '', backends: [] })
    write('try-error', wrong(error))
  }
})
