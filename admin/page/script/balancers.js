// The panel of the balancers of a cluster, hidden where there is none. They are asked for now and then.

import { call } from './api.js'
import { $, element, write } from './dom.js'

const SECONDS = 5
let isFollowed = false

const said = (m, revision) => {
  if (m.is_lost) return 'lost: not heard, and not ended in order'
  const left = Object.entries(m.left).map(([id, count]) => `${id} has ${count} left`)
  const down = m.down.length ? [`sees down ${m.down.slice(0, 3).join(', ')}${m.down.length > 3 ? ', …' : ''}`] : []
  const behind = m.applied === null ? ['says nothing'] : m.applied < revision ? [`behind by ${revision - m.applied}`] : []
  return [...behind, ...left, ...down].join(' · ') || 'as the others'
}

const lineOf = (m, revision) => {
  const line = element('li')
  line.className = m.is_lost ? 'bad' : m.applied === null || m.applied < revision ? 'warn' : 'ok'
  line.title = `configuration ${m.config}, version ${m.version}${m.admin ? `, ${m.admin}` : ''}`
  line.append(element('b', m.is_self ? `${m.name} (this one)` : m.name), element('span', said(m, revision)))
  return line
}

const about = (view) => {
  if (view.failure) return `etcd is not followed: ${view.failure}`
  if (view.configs_differ) return 'their configurations differ'
  return `${view.members.length} of one cluster`
}

const refresh = async () => {
  try {
    const view = await (await call('GET', '/cluster')).json()
    $('cluster').hidden = view.name === null
    if (view.name === null) return  // that takes a restart to change
    write('of-balancers', about(view))
    $('balancers').replaceChildren(...view.members.map((m) => lineOf(m, view.newest)))
  } catch { /* the next look asks again */ }
  setTimeout(refresh, SECONDS * 1000)
}

export const followBalancers = () => {
  if (!isFollowed) refresh()
  isFollowed = true
}
