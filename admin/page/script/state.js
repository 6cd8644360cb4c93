// What several modules share: how the reader wants to see the page, and the newest numbers.

export const view = {
  filter: '', troubleOnly: false, sort: '', descending: false, paused: false, isLocal: false, backend: '',
  open: new Set(), whole: new Set(), // pools: those opened where each is one line, and those with all of their rows
}
export const latest = { stats: null, troubled: new Set() } // the ids of backends that are in trouble

export const backendCalled = (id) => latest.stats?.backends.find((each) => each.id === id)
export const mayChange = () => document.body.dataset.scope === 'admin'
export const mayDrain = () => document.body.dataset.scope !== 'read'

// The view is in the address, so that it outlives a reload and can be sent to somebody.
const NAMES = { filter: 'q', sort: 'sort', descending: 'desc', troubleOnly: 'trouble', isLocal: 'local', backend: 'backend' }
const SETS = ['open', 'whole']

export const remember = () => {
  const said = new URLSearchParams()
  for (const [key, name] of Object.entries(NAMES)) if (view[key]) said.set(name, view[key] === true ? '1' : view[key])
  for (const name of SETS) for (const pool of view[name]) said.append(name, pool)
  history.replaceState(null, '', said.size ? `#${said}` : location.pathname)
}

const said = new URLSearchParams(location.hash.slice(1))
for (const [key, name] of Object.entries(NAMES)) {
  if (said.has(name)) view[key] = typeof view[key] === 'boolean' ? true : said.get(name)
}
for (const name of SETS) for (const pool of said.getAll(name)) view[name].add(pool)

// A link that somebody opens in this tab.
addEventListener('hashchange', () => location.reload())
