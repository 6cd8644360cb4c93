// Keeps the page at / up to date: the numbers of each second and the events come through /events, read with
// fetch() so that the token can go in a field. What stands in the page is only touched where it has changed.

const TONES = {
  ready: 'ok', warming: 'ok', checking: 'warn', down: 'bad', ejected: 'bad', trial: 'warn',
  draining: 'drain', drained: 'off', maintenance: 'off',
}
const EVENTS = 'stats,backend,health,drain,config,balancer,request_failed'
const QUIET_MS = 3500 // longer than three ticks: then nobody is there any more
const STALE_MS = 15000
const STEP_MS = 5000
const HISTORY = 60
const CHECKS = 30
const LOGGED = 200
const FAILURES = 30
const FLOW_ROWS = 10
const FORESEEN = 4 // backends of a forecast that are named
const ENOUGH = 20 // requests in ten seconds: of fewer, one that fails is no news for the title

const $ = (id) => document.getElementById(id)
const all = (selector, root = document) => root.querySelectorAll(selector)
const write = (id, text) => { $(id).textContent = text }
const SVG = 'http://www.w3.org/2000/svg'
const svg = (name, attributes = {}) => {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}
const element = (name, text = '', className = '') => {
  const made = document.createElement(name)
  made.textContent = text
  if (className) made.className = className
  return made
}

// How numbers are written, as in words.py.

const NOTHING = '–'
const rate = (value) => {
  if (value === null || value === undefined) return NOTHING
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1)
}
const percent = (share) => {
  if (share === null) return NOTHING
  return share > 0 && share < 0.0995 ? `${(share * 100).toFixed(1)}%` : `${(share * 100).toFixed(0)}%`
}
const took = (seconds) => {
  if (seconds === null) return NOTHING
  if (seconds >= 9.95) return `${seconds.toFixed(0)} s`
  if (seconds >= 0.9995) return `${seconds.toFixed(1)} s`
  return seconds >= 0.00995 ? `${(seconds * 1000).toFixed(0)} ms` : `${(seconds * 1000).toFixed(1)} ms`
}
const span = (seconds) => {
  if (seconds === null) return ''
  const whole = Math.floor(seconds)
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (number) => String(number).padStart(2, '0')
  if (hours >= 24) return `${Math.floor(hours / 24)}d ${hours % 24}h`
  return hours ? `${hours}h ${two(minutes)}m` : `${minutes}:${two(rest)}`
}
const ago = (seconds) => {
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`
  }
  return `${Math.floor(seconds)} s`
}
const beside = (b) => {
  if (b.drain && b.state === 'draining') return `${b.drain.remaining} left ${span(b.drain.deadline_seconds)}`
  return TONES[b.state] === 'ok' ? '' : ago(b.state_seconds)
}
const where = (b) => [b.url.replace('http://', ''), ...Object.entries(b.labels).map(([name, value]) => `${name}=${value}`)].join(' · ')
const ticks = (checks, kind) => {
  const stroke = kind === '.' ? '9v3' : '0v12'
  const offset = CHECKS - checks.length
  return [...checks].map((each, at) => (each === kind ? `M${2 * (offset + at)}.5 ${stroke}` : '')).join('')
}
const part = (value, whole) => (whole ? `${+Math.min(100, (100 * value) / whole).toPrecision(4)}%` : '0%')
const clock = (timestamp) => timestamp.slice(11, 19)
const mistakes = (codes) => {
  const broken = codes['5xx'] + codes.failed
  const said = []
  if (broken) said.push(`${rate(broken)}\u00a0×\u00a05xx`)
  if (codes['4xx']) said.push(`${rate(codes['4xx'])}\u00a0×\u00a04xx`)
  const whole = codes['2xx'] + codes['3xx'] + codes['4xx'] + broken
  if (said.length) return `${said.join(' ')} of\u00a0${rate(whole)}`
  return whole ? `${rate(whole)}\u00a0ok` : NOTHING
}
const spark = (values, top = 0) => {
  const known = values.map((value, index) => [index, value]).filter(([, value]) => value !== null)
  if (known.length < 2) return ''
  const highest = Math.max(top, ...known.map(([, value]) => value)) || 1
  const offset = HISTORY - values.length
  return known
    .map(([at, value]) => `${(((offset + at) * 100) / 59).toFixed(1)},${(29 - (value / highest) * 27).toFixed(1)}`)
    .join(' ')
}

// The parts of the page that are filled again and again: fields by name, each with what it shows now.

class Part {
  constructor(root) {
    this.root = root
    this.fields = {}
    this.shown = {}
    for (const field of all('[data-f]', root)) this.fields[field.dataset.f] = field
  }

  text(name, value) {
    if (this.shown[name] === value) return
    this.shown[name] = value
    this.fields[name].textContent = value
  }

  set(name, attribute, value) {
    const key = `${name} ${attribute}`
    if (this.shown[key] === value) return
    this.shown[key] = value
    this.fields[name].setAttribute(attribute, value)
  }

  tone(className) {
    if (this.root.className !== className) this.root.className = className
  }
}

const copyOf = (template) => $(template).content.firstElementChild.cloneNode(true)

class Row extends Part {
  constructor(root) {
    super(root)
    this.order = 0
  }

  show(b) {
    if (this.shown.id !== b.id) this.name(b)
    this.data = b
    this.tone(TONES[b.state] ?? 'warn')
    this.text('where', where(b))
    this.set('where', 'title', this.shown.where)
    this.text('state', b.state)
    this.text('why', b.why.replace(`${b.id} at ${b.url}: `, ''))
    this.set('why', 'title', b.why)
    this.text('left', beside(b))
    this.checks(b.checks)
    const { remaining, started_with: from } = b.drain ?? { remaining: 0, started_with: 0 }
    this.set('drained', 'width', b.drain && !from ? '100%' : part(from - remaining, from))
    if (document.activeElement !== this.fields.weight && this.shown.weight !== b.weight) {
      this.shown.weight = b.weight
      this.fields.weight.value = b.weight
    }
    this.text('flight', rate(b.in_flight))
    this.text('cap', b.cap === null ? '' : `/${b.cap}`)
    this.set('full', 'width', part(b.in_flight, b.cap))
    this.text('rps', rate(b.rates.requests_per_second))
    this.text('share', percent(b.share))
    this.text('expected', b.expected_share ? `of ${percent(b.expected_share)}` : '')
    this.set('got', 'width', part(b.share ?? 0, 1))
    this.set('due', 'x', part(b.expected_share, 1))
    this.set('due', 'width', b.expected_share ? 2 : 0)
    this.codes(b.minute)
    this.text('p50', took(b.rates.p50_seconds))
    this.text('p99', took(b.rates.p99_seconds))
  }

  checks(checks) {
    if (this.checked === checks) return
    this.checked = checks
    this.text('checked', checks && `${checks.replaceAll('x', '').length} of the last ${checks.length} checks passed`)
    this.set('pass', 'd', ticks(checks, '.'))
    this.set('fail', 'd', ticks(checks, 'x'))
  }

  codes(minute) {
    const counts = [minute['2xx'], minute['3xx'], minute['4xx'], minute['5xx'] + minute.failed]
    const whole = counts.reduce((sum, count) => sum + count, 0)
    let before = 0
    counts.forEach((count, index) => {
      this.set(`c${index + 2}`, 'x', part(before, whole))
      this.set(`c${index + 2}`, 'width', part(count, whole))
      before += count
    })
    this.text('codes', mistakes(minute))
  }

  name(b) {
    this.root.dataset.id = b.id
    this.text('id', b.id)
    this.fields.weight.setAttribute('aria-label', `Weight of ${b.id}`)
    for (const button of all('[data-act]', this.root)) {
      const word = button.textContent
      button.setAttribute('aria-label', `${word} ${b.id}`)
      if (button.dataset.act !== 'remove') button.formAction = `/backends/${encodeURIComponent(b.id)}/${button.dataset.act}`
    }
  }

  matches() {
    const { id, state, why, pool } = this.data
    if (view.failedOnly && !['bad', 'warn'].includes(TONES[state])) return false
    return !view.filter || `${id} ${this.shown.where} ${state} ${why} ${pool}`.toLowerCase().includes(view.filter)
  }
}

class Pool extends Part {
  constructor(root) {
    super(root)
    this.body = root.querySelector('tbody')
    this.rows = new Map()
    for (const row of this.body.rows) this.rows.set(row.dataset.id, new Row(row))
  }

  show(p, backends) {
    if (this.root.dataset.pool !== p.name) {
      this.root.dataset.pool = p.name
      this.root.querySelector('table').setAttribute('aria-label', `Backends of ${p.name}`)
    }
    this.data = p
    this.text('name', p.name)
    this.text('policy', p.policy)
    this.text('up', manned(p))
    this.set('up', 'class', `tag ${toneOfPool(p)}`)
    this.fields.panic.hidden = !p.panicking
    const { requests_per_second: each, p99_seconds: p99 } = p.rates
    this.text('sum', `${rate(each)} req/s · last minute ${mistakes(p.minute)} · ${p.in_flight} in flight · ${p.queued} queued · p99 ${took(p99)}`)
    const gone = new Set(this.rows.keys())
    backends.forEach((backend, index) => {
      gone.delete(backend.id)
      let row = this.rows.get(backend.id)
      if (!row) this.rows.set(backend.id, (row = new Row(copyOf('row'))))
      row.order = index
      row.show(backend)
    })
    for (const id of gone) {
      this.rows.get(id).root.remove()
      this.rows.delete(id)
    }
    this.arrange()
  }

  // Rows move only where they stand wrong: one that has the focus must not lose it for nothing.
  arrange() {
    const rows = [...this.rows.values()].filter((row) => row.data)
    rows.sort(inOrder)
    let there = this.body.firstElementChild
    let count = 0
    for (const row of rows) {
      if (row.root === there) there = there.nextElementSibling
      else this.body.insertBefore(row.root, there)
      const isShown = row.matches()
      count += isShown
      if (row.root.hidden === isShown) row.root.hidden = !isShown
    }
    this.fields.none.hidden = count > 0
    this.text('none', this.rows.size ? 'None of them matches.' : 'No backend yet.')
    this.root.hidden = count === 0 && this.rows.size > 0 && (view.filter || view.failedOnly)
    return count
  }
}

const manned = (p) => {
  if (!p.available) return p.backends ? 'nobody is available: clients get 503' : 'no backends'
  return `${p.available} of ${p.backends} available`
}

const toneOfPool = (p) => {
  if (!p.available) return p.backends ? 'bad' : 'off'
  return p.available < p.backends || p.panicking ? 'warn' : 'ok'
}

const KEYS = {
  id: (b) => b.id, state: (b) => Object.keys(TONES).indexOf(b.state), weight: (b) => b.weight,
  flight: (b) => b.in_flight, rps: (b) => b.rates.requests_per_second, share: (b) => b.share ?? -1,
  codes: (b) => b.minute['5xx'] + b.minute.failed, p50: (b) => b.rates.p50_seconds ?? -1,
  p99: (b) => b.rates.p99_seconds ?? -1,
}
const inOrder = (one, other) => {
  if (!view.sort) return one.order - other.order
  const [a, b] = [KEYS[view.sort](one.data), KEYS[view.sort](other.data)]
  const by = typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a - b
  return (view.down ? -by : by) || one.order - other.order
}

const view = { filter: '', failedOnly: false, sort: '', down: false, paused: false }
const pools = new Map([...all('.pool')].map((root) => [root.dataset.pool, new Pool(root)]))
const tiles = Object.fromEntries(
  ['rps', 'errors', 'latency', 'flight', 'backends'].map((id) => [id, new Part($(`t-${id}`))]),
)
let now = null // the last numbers
let history = null
let stepped = 0

// The numbers of each second.

const remember = (totals) => {
  if (!history || performance.now() - stepped < STEP_MS) return
  stepped = performance.now()
  for (const [key, values] of Object.entries(history)) {
    if (!Array.isArray(values)) continue
    values.push(totals.rates[key] ?? totals[key] ?? null)
    if (values.length > HISTORY) values.shift()
  }
}

const tile = (id, value, more, tone, values, top) => {
  const shown = tiles[id]
  shown.text('value', value)
  shown.text('more', more)
  shown.tone(`tile ${tone}`)
  if (!values) return
  const line = spark(values, top)
  const points = line.split(' ')
  shown.set('line', 'points', line)
  shown.set('area', 'points', line && `${points[0].split(',')[0]},30 ${line} ${points.at(-1).split(',')[0]},30`)
}

const between = (value, some, much) => (value >= much ? 'bad' : value >= some ? 'warn' : 'ok')

const showTotals = ({ totals }) => {
  const { rates, cap, queued } = totals
  tile('rps', rate(rates.requests_per_second), '/s', 'ok', history?.requests_per_second)
  tile('errors', percent(rates.share_5xx), '5xx', between(rates.share_5xx, 0.01, 0.05), history?.share_5xx, 0.05)
  tile('latency', took(rates.p50_seconds), `p99 ${took(rates.p99_seconds)}`, between(rates.p99_seconds ?? 0, 2, 10), history?.p99_seconds)
  const of = [cap === null ? '' : `of ${rate(cap)}`, queued ? `${queued} queued` : ''].filter(Boolean).join(' · ')
  tile('flight', rate(totals.in_flight), of, between(cap ? totals.in_flight / cap : 0, 0.8, 0.95), history?.in_flight)
  const tone = totals.available === totals.backends ? 'ok' : totals.available ? 'warn' : 'bad'
  tile('backends', String(totals.available), `of ${totals.backends}`, tone, history?.available, totals.backends)
}

const showPools = (stats) => {
  const byPool = new Map(stats.pools.map((p) => [p.name, []]))
  for (const backend of stats.backends) byPool.get(backend.pool)?.push(backend)
  for (const [name, pool] of pools) {
    if (byPool.has(name)) continue
    pool.root.remove()
    pools.delete(name)
  }
  for (const p of stats.pools) {
    let pool = pools.get(p.name)
    if (!pool) {
      pool = new Pool(copyOf('pool'))
      pools.set(p.name, pool)
      $('pools').append(pool.root)
    }
    pool.show(p, byPool.get(p.name))
  }
  showCount()
}

const showCount = () => {
  const count = now ? now.backends.length : 0
  const shown = [...pools.values()].flatMap((pool) => [...pool.rows.values()]).filter((row) => !row.root.hidden).length
  write('shown', shown === count ? '' : `${shown} of ${count}`)
}

const health = (stats) => {
  const empty = stats.pools.find((p) => p.backends && !p.available)
  const unfit = stats.backends.filter((b) => TONES[b.state] === 'bad').length
  if (empty) return ['bad', `✗ ${empty.name} has nobody`]
  if (unfit) return ['warn', `✗ ${unfit} down`]
  if (stats.draining || stats.stopping) return ['warn', '◌ leaving']
  const { share_5xx: share, ended } = stats.totals.rates
  if (share >= 0.05 && ended >= ENOUGH) return ['warn', `! ${percent(share)} 5xx`]
  return ['ok', '✓']
}

const showHealth = (tone, says) => {
  const title = `${says} trio-lb`
  if (document.title !== title) document.title = title
  const icon = `/page/${tone}.svg`
  if ($('icon').getAttribute('href') !== icon) $('icon').setAttribute('href', icon)
}

let isDrawn = true
const take = (stats) => {
  now = stats
  remember(stats.totals)
  showHealth(...health(stats))
  if (view.paused || !isDrawn) return
  isDrawn = false
  const draw = () => {
    isDrawn = true
    if (!view.paused) show(now)
  }
  document.hidden ? (isDrawn = true) : requestAnimationFrame(draw)
}

const show = (stats) => {
  showTotals(stats)
  showPools(stats)
  showFlow(stats)
  write('uptime', span(stats.uptime_seconds))
  $('notice').hidden = !(stats.draining || stats.stopping)
  if (stats.stopping) write('leaving', 'This balancer is stopping.')
  $('undo').hidden = stats.stopping
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && now && !view.paused) show(now)
})

// The flow: clients to pools to backends, as wide as their share.

let flowIs = ''
const showFlow = (stats) => {
  const flow = $('flow')
  const narrow = flow.clientWidth < 420
  const width = Math.max(280, Math.round(flow.clientWidth))
  const used = stats.pools.filter((p) => p.backends)
  const each = stats.backends.length <= FLOW_ROWS ? FLOW_ROWS : Math.max(1, Math.floor(FLOW_ROWS / used.length))
  const groups = used.map((p) => {
    const more = stats.backends.filter((b) => b.pool === p.name)
    return { p, shown: more.slice(0, more.length > each ? each - 1 || 1 : each), more }
  })
  const total = groups.reduce((sum, { p }) => sum + p.rates.requests_per_second, 0)
  const lines = []
  let y = 18
  for (const { p, shown, more } of groups) {
    const weight = total ? p.rates.requests_per_second / total : 1 / groups.length
    const rest = more.length - shown.length
    const top = y
    const ends = shown.map((b) => {
      const share = p.rates.requests_per_second ? (b.share ?? 0) : b.expected_share
      const end = { y, label: b.id, share: share * weight, tone: TONES[b.state] ?? 'warn', says: percent(share) }
      y += 22
      return end
    })
    if (rest > 0) {
      const share = more.slice(shown.length).reduce((sum, b) => sum + (b.share ?? 0), 0)
      ends.push({ y, label: `${rest} more`, share: share * weight, tone: 'ok', says: percent(share) })
      y += 22
    }
    lines.push({ name: p.name, weight, at: (top + y - 22) / 2, ends })
    y += 10
  }
  const height = Math.max(60, y - 8)
  const is = JSON.stringify([width, total > 0, lines], (_, value) => value?.toFixed?.(2) ?? value)
  if (is === flowIs) return
  flowIs = is
  const middle = (height - 8) / 2
  const [left, pool, right] = [narrow ? 52 : 62, width * 0.45, width - (narrow ? 104 : 150)]
  const line = (x1, y1, x2, y2, share, tone) => {
    const bend = (x1 + x2) / 2
    const stroke = share ? Math.max(1.25, share * 26).toFixed(1) : 1
    return svg('path', { d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`, 'stroke-width': stroke, class: `${tone}${share && total ? '' : ' idle'}` })
  }
  const word = (x, at, text, className = '') => {
    const made = svg('text', { x, y: at + 4, class: className })
    made.textContent = text
    return made
  }
  const drawn = []
  for (const { name, weight, at, ends } of lines) {
    drawn.push(line(left, middle, pool, at, weight, 'ok'))
    for (const end of ends) drawn.push(line(pool, end.y, right, end.y, 0, 'none'), line(pool, at, right, end.y, end.share, end.tone))
    drawn.push(svg('circle', { cx: pool, cy: at, r: 5 }), word(pool, at - 15 - weight * 8, name, 'mid'))
    for (const end of ends) drawn.push(word(right + 8, end.y, end.label.length > 12 ? `${end.label.slice(0, 11)}…` : end.label, end.tone), word(width, end.y, end.says, 'end'))
  }
  drawn.push(svg('circle', { cx: left, cy: middle, r: 5 }), word(left - 10, middle, 'clients', 'end'))
  flow.setAttribute('viewBox', `0 0 ${width} ${height}`)
  flow.setAttribute('height', height)
  flow.replaceChildren(...drawn.filter((each) => !each.classList.contains('none')))
}

// Failed requests.

const phases = (attempt, total) => {
  const last = attempt.ended_ms ?? total
  const bars = []
  let at = attempt.started_ms
  for (const [name, end] of [['connect', attempt.connected_ms], ['wait', attempt.first_byte_ms], ['body', attempt.ended_ms]]) {
    const until = end ?? last
    bars.push(svg('rect', { class: name, x: part(at, total), width: part(Math.max(0, until - at), total), height: '100%' }))
    at = Math.max(at, until)
    if (end === null) break
  }
  return bars
}

const kindOf = (r) => `${r.pool ?? ''} ${r.attempts.at(-1)?.backend ?? ''} ${r.status} ${r.error ?? ''}`
const alike = (r) => (r.alike > 1 ? `${rate(r.alike)} like this since ${clock(r.alike_since)}` : '')

class Failure extends Part {
  show(r) {
    if (this.id === r.id) return
    this.id = r.id
    this.root.dataset.id = kindOf(r)
    this.text('at', clock(r.ended))
    this.set('at', 'datetime', r.ended)
    this.text('status', String(r.status))
    this.text('what', `${r.method} ${r.target}`)
    this.text('error', r.error ?? '')
    this.text('explain', r.explain)
    this.text('facts', `${r.target && `${r.target} · `}${r.client} · ${r.pool ?? 'no pool'} · ${took(r.timings_ms.total / 1000)} · ${r.id}`)
    this.fields.fall.replaceChildren(...r.attempts.map((attempt) => this.attempt(attempt, r.timings_ms.total)))
  }

  attempt(attempt, total) {
    const bars = svg('svg', { 'aria-hidden': 'true' })
    bars.append(...phases(attempt, total))
    const line = element('div', '', 'try')
    line.append(element('span', attempt.backend), bars, element('span', attempt.error ?? 'ok'))
    return line
  }
}

const failures = new Map() // by kind
for (const root of $('failures').children) failures.set(root.dataset.id, new Failure(root))

// Nothing is taken from under the eyes of whoever reads: what is open stays, and while one is, so does the order.
const showFailures = (items) => {
  const isRead = $('failures').querySelector('[open]') !== null
  const kinds = new Set(items.map(kindOf))
  for (const [kind, shown] of failures) {
    if (kinds.has(kind) || shown.root.open) continue
    shown.root.remove()
    failures.delete(kind)
  }
  let at = $('failures').firstElementChild
  for (const r of items) {
    const known = failures.get(kindOf(r))
    const shown = known ?? new Failure(copyOf('failure'))
    failures.set(kindOf(r), shown)
    shown.text('alike', alike(r))
    if (!shown.root.open) shown.show(r)
    if (shown.root === at) at = at.nextElementSibling
    else if (!known || !isRead) $('failures').insertBefore(shown.root, at)
  }
  $('no-failures').hidden = items.length > 0
  write('no-failures', 'None remembered.')
}

let failuresDue = 0
const refreshFailures = () => {
  if (failuresDue) return
  failuresDue = setTimeout(async () => {
    failuresDue = 0
    if (view.paused) return
    try {
      showFailures((await (await api('GET', `/requests?kinds=1&limit=${FAILURES}`)).json()).items)
    } catch { /* the next event asks again */ }
  }, 800)
}

$('failures').addEventListener('toggle', (event) => {
  if (!event.target.open) refreshFailures() // it may show a newer one now
}, true)

// Events.

const tell = (text) => {
  write('told', text)
}

const log = (at, tone, who, what) => {
  const line = element('li', '', tone)
  const time = element('time', clock(at))
  time.dateTime = at
  line.append(time, element('b', who), element('span', what))
  $('log').prepend(line)
  if ($('log').childElementCount > LOGGED) $('log').lastElementChild.remove()
}

// What has changed its state shows that at once; its numbers follow with the next second's.
const turn = ({ backend, state }) => {
  const b = state && now?.backends.find((each) => each.id === backend)
  if (!b || b.state === state || view.paused || document.hidden) return
  Object.assign(b, { state, state_seconds: 0 })
  pools.get(b.pool)?.rows.get(b.id)?.show(b)
}

const KINDS = { ...TONES, up: 'ok', admitted: 'ok', added: 'ok', calm: 'ok', panic: 'bad', 'policy failed': 'bad', reloaded: 'ok', 'not reloaded': 'bad', removed: 'off' }

const heard = (type, data, isNew) => {
  if (type === 'stats') return take(data)
  if (type === 'request_failed') return refreshFailures()
  if (type === 'missed' || type === 'ending' || data.kind === 'progress') return
  if (isNew) turn(data)
  const who = data.backend ?? (data.pool === undefined ? 'balancer' : `pool ${data.pool}`)
  const drain = type === 'drain' ? ` ${data.kind === 'drained' ? `in ${took(data.duration_seconds)}, ${data.aborted} cut` : `${data.remaining} in flight`}` : ''
  log(data.at, KINDS[data.kind] ?? '', who, `${data.kind}${drain}${data.detail && type !== 'drain' ? ` · ${data.detail}` : ''}`)
  if (isNew) tell(`${who} is ${data.kind}`)
}

// The API, with the token where there is one.

const fields = () => {
  const token = sessionStorage.getItem('token')
  return token ? { Authorization: `Bearer ${token}` } : {}
}

class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? 'refused')
    this.problem = problem
  }
}

const api = async (method, path, body, signal) => {
  const answer = await fetch(path, { method, body, signal, headers: fields(), cache: 'no-store' })
  if (answer.ok) return answer
  const problem = await answer.json().catch(() => ({ title: `status ${answer.status}` }))
  if (answer.status === 401) askForToken()
  throw new Refused({ ...problem, status: answer.status })
}

let hasToken = null // resolves when somebody has given one
let gotToken = () => {}
const askForToken = () => {
  if (hasToken) return
  hasToken = new Promise((resolve) => { gotToken = resolve })
  $('live').className = 'live'
  write('says', 'no numbers without the token')
  write('token-error', sessionStorage.getItem('token') ? 'That is not the token.' : '')
  sessionStorage.removeItem('token')
  $('token').hidden = false
  $('main').hidden = true
  $('secret').value = ''
  $('secret').focus()
}

$('token').addEventListener('submit', (event) => {
  event.preventDefault()
  sessionStorage.setItem('token', $('secret').value.trim())
  $('token').hidden = true
  hasToken = null
  gotToken()
})

const curl = (method, path, body) => {
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
  const parts = ['curl']
  if (sessionStorage.getItem('token')) parts.push('-H "Authorization: Bearer $LB_ADMIN_TOKEN"')
  if (method !== 'GET' && !(method === 'POST' && body && [...body].length)) parts.push(`-X ${method}`)
  parts.push(quoted(location.host + path))
  for (const [key, value] of body ?? []) parts.push(`-d ${quoted(`${key}=${/[&+%\s]/.test(value) ? encodeURIComponent(value) : value}`)}`)
  return parts.join(' ')
}

const copy = async (text, button) => {
  const was = 'Copy as curl'
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = 'Copied'
  } catch {
    button.textContent = 'Press Ctrl+C'
    getSelection().selectAllChildren(button.previousElementSibling)
  }
  setTimeout(() => { button.textContent = was }, 1500)
}

for (const box of all('.curl, .toast')) {
  const button = box.querySelector('button')
  button.addEventListener('click', () => copy(box.querySelector('code').textContent, button))
}

let toastEnds = 0
const toast = (says, command, isBad = false) => {
  const box = $('toast')
  box.querySelector('span').textContent = says
  box.querySelector('code').textContent = command
  box.classList.toggle('bad', isBad)
  box.hidden = false
  clearTimeout(toastEnds)
  toastEnds = setTimeout(() => { box.hidden = true }, isBad ? 12000 : 7000)
}

const change = async (says, method, path, body) => {
  try {
    await api(method, path, body)
    toast(says, curl(method, path, body))
    return true
  } catch (error) {
    toast(wrong(error), curl(method, path, body), true)
    return false
  }
}

const wrong = (error) => {
  if (!(error instanceof Refused)) return 'The balancer does not answer.'
  const [first] = error.problem.errors ?? []
  return first ? [first.detail, first.hint].filter(Boolean).join('; ') : error.message
}

// Actions.

const dialog = $('act')
let acting = null

const consequences = (b) => {
  const others = now.backends.filter((each) => each.pool === b.pool && each.id !== b.id && each.available).length
  const count = now.backends.filter((each) => each.pool === b.pool).length
  const remain = others
    ? `${others} of ${count} in ${b.pool} will take its requests.`
    : `Nobody else in ${b.pool} takes requests: clients will get 503.`
  return `${remain} ${b.in_flight ? `What is in flight (${b.in_flight}) may end first.` : 'Nothing is in flight on it.'}`
}

// What the last minute's requests would have met without it, and without those that take none now.
const foresee = async (b) => {
  write('act-whatif', '')
  const isOut = (each) => each.pool === b.pool && (each.id === b.id || TONES[each.state] === 'bad')
  const remove = now.backends.filter(isOut).map((each) => each.id)
  const question = new Blob([JSON.stringify({ pool: b.pool, remove })], { type: 'application/json' })
  try {
    const told = await (await api('POST', '/whatif', question)).json()
    if (acting.b === b && told.requests) write('act-whatif', forecast(told))
  } catch { /* the dialog does without */ }
}

const forecast = ({ requests, items, queued, refused, window_seconds: seconds }) => {
  const when = seconds < 59 ? `${Math.ceil(seconds)} s` : 'minute'
  const most = items.toSorted((a, b) => b.requests - a.requests).slice(0, FORESEEN)
  const shares = most.map((each) => `${each.id} ${percent(each.share)} (${each.peak_in_flight} at once)`)
  const trouble = [queued && `${queued} would have waited`, refused && `${refused} got a 503`].filter(Boolean)
  const more = items.length > most.length ? `, ${items.length - most.length} more` : ''
  return `The last ${when} without it (${requests} requests): ${shares.join(', ')}${more}; ${trouble.join(', ') || 'nobody would have waited'}.`
}

const request = () => {
  const { act, b } = acting
  const id = encodeURIComponent(b.id)
  const timeout = $('act-timeout').value.trim()
  const query = new URLSearchParams()
  if (timeout) query.set(act === 'drain' ? 'timeout' : 'drain_timeout', timeout)
  if (act === 'drain' && $('act-then').value !== 'keep') query.set('then', $('act-then').value)
  const tail = query.size ? `?${query}` : ''
  return act === 'drain' ? ['POST', `/backends/${id}/drain${tail}`] : ['DELETE', `/backends/${id}${tail}`]
}

const showRequest = () => {
  dialog.querySelector('code').textContent = curl(...request())
}

const open = (act, b) => {
  acting = { act, b }
  write('act-title', act === 'drain' ? `Drain ${b.id}?` : `Remove ${b.id}?`)
  write('act-says', consequences(b))
  $('act-then-label').hidden = act !== 'drain'
  write('act-go', act === 'drain' ? 'Drain' : 'Drain, then remove')
  $('act-go').classList.toggle('danger', act === 'remove')
  write('act-error', '')
  showRequest()
  foresee(b)
  dialog.showModal()
  $('act-go').focus()
}

$('act-fields').addEventListener('input', showRequest)
dialog.querySelector('form').addEventListener('submit', async (event) => {
  if (event.submitter?.value !== 'go') return
  event.preventDefault()
  const { act, b } = acting
  const wanted = request()
  try {
    await api(...wanted)
    dialog.close()
    toast(act === 'drain' ? `${b.id} drains.` : `${b.id} drains, then leaves.`, curl(...wanted))
  } catch (error) {
    write('act-error', wrong(error))
  }
})

$('undo').addEventListener('click', () => change('The balancer takes part again.', 'DELETE', '/drain'))
$('pools').addEventListener('submit', (event) => event.preventDefault())
$('pools').addEventListener('click', (event) => {
  const sort = event.target.closest('[data-sort]')
  if (sort) return sortBy(sort.dataset.sort)
  const button = event.target.closest('[data-act]')
  if (!button) return undefined
  event.preventDefault()
  const b = now?.backends.find((each) => each.id === button.closest('tr').dataset.id)
  if (!b) return undefined
  if (button.dataset.act === 'ready') return change(`${b.id} is ready.`, 'POST', `/backends/${encodeURIComponent(b.id)}/ready`)
  return open(button.dataset.act, b)
})

$('pools').addEventListener('change', async (event) => {
  const input = event.target.closest('.weight input')
  if (!input) return
  const { id } = input.closest('tr').dataset
  const body = new URLSearchParams({ weight: input.value })
  const isDone = await change(`${id} has weight ${input.value}.`, 'PATCH', `/backends/${encodeURIComponent(id)}`, body)
  const was = now?.backends.find((each) => each.id === id)
  if (!isDone && was) input.value = was.weight
})
$('pools').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.closest('.weight input')) event.target.blur()
})

const sortBy = (key) => {
  const first = !['id', 'state'].includes(key)
  if (view.sort !== key) [view.sort, view.down] = [key, first]
  else if (view.down === first) view.down = !first
  else view.sort = ''
  for (const button of all('[data-sort]')) {
    const head = button.parentElement
    if (button.dataset.sort === view.sort) head.setAttribute('aria-sort', view.down ? 'descending' : 'ascending')
    else head.removeAttribute('aria-sort')
  }
  arrange()
}

const arrange = () => {
  for (const pool of pools.values()) pool.arrange()
  showCount()
}

$('filter').addEventListener('input', () => {
  view.filter = $('filter').value.trim().toLowerCase()
  arrange()
})
$('failed').addEventListener('change', () => {
  view.failedOnly = $('failed').checked
  arrange()
})

const pause = () => {
  view.paused = !view.paused
  $('pause').setAttribute('aria-pressed', view.paused)
  write('pause', view.paused ? 'Go on' : 'Pause')
  showLive()
  if (!view.paused && now) show(now)
  if (!view.paused) refreshFailures()
}
$('pause').addEventListener('click', pause)
document.addEventListener('keydown', (event) => {
  if (event.target.closest('input, select, dialog') || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === '/') {
    event.preventDefault()
    $('filter').focus()
  } else if (event.key === 'p') pause()
  else if (event.key === 'a') openNew(event)
})

// The form for a new backend: the API judges, and its words stand at the field that they are about.

const form = $('new').querySelector('form')
const filled = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()))
const showNew = () => {
  $('new').querySelector('code').textContent = curl('POST', '/backends', filled())
}
const clearErrors = () => {
  for (const error of all('.error', form)) error.textContent = ''
  for (const input of all('[aria-invalid]', form)) input.removeAttribute('aria-invalid')
}
const openNew = (event) => {
  event.preventDefault()
  form.reset()
  clearErrors()
  $('new-pool').replaceChildren(...(now?.pools ?? []).map((p) => element('option', p.name)))
  showNew()
  $('new').showModal()
}
$('add').addEventListener('click', openNew)
form.querySelector('[data-close]').addEventListener('click', () => $('new').close())
form.addEventListener('input', showNew)
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  clearErrors()
  const body = filled()
  try {
    const added = await (await api('POST', '/backends', body)).json()
    $('new').close()
    toast(`${added.id} is there.`, curl('POST', '/backends', body))
  } catch (error) {
    showMistakes(error)
  }
})

const showMistakes = (error) => {
  const rest = []
  for (const mistake of error.problem?.errors ?? []) {
    const name = mistake.pointer?.slice(2) ?? ''
    const says = [mistake.detail, mistake.hint].filter(Boolean).join('; ')
    const at = $(`new-${name}-error`)
    if (!at) {
      rest.push(`${name}: ${says}`)
      continue
    }
    at.textContent = says
    form.elements[name].setAttribute('aria-invalid', 'true')
  }
  if (!error.problem?.errors?.length) rest.push(wrong(error))
  $('new-error').textContent = rest.join('; ')
  form.querySelector('[aria-invalid]')?.focus()
}

const showInfo = ({ node, source, caller }) => {
  write('where', ` on ${node} · ${source.split('/').pop()}`)
  write('who', `${caller.name} · ${caller.scope}`)
  document.body.dataset.scope = caller.scope
}

// The stream: it ends when the balancer does, and comes back when that does.

let lastId = '0' // the first time, tell what happened before we came
let lostAt = performance.now() // 0 while we hear from it
let heardAt = 0
let retries = 0

const showLive = () => {
  if (hasToken) return
  const silent = lostAt ? performance.now() - lostAt : 0
  const tone = !lostAt ? 'on' : silent > STALE_MS ? 'stale' : 'wait'
  $('live').className = `live ${view.paused && !lostAt ? 'paused' : tone}`
  const seconds = Math.floor(silent / 1000)
  const wait = retries ? `reconnecting ${seconds} s` : 'connecting'
  const words = { on: view.paused ? 'paused' : 'live', wait, stale: `no numbers for ${seconds} s` }
  if ($('says').textContent !== words[tone]) write('says', words[tone])
  document.body.classList.toggle('stale', tone === 'stale')
  if (tone === 'stale') showHealth('bad', '✗ lost')
}

const lost = () => {
  if (lostAt) return
  lostAt = performance.now()
  tell('The connection is lost.')
}

const found = () => {
  if (retries) tell('The connection is back.')
  lostAt = retries = 0
  showLive()
}

const parse = (block) => {
  const told = { event: 'message', data: '', id: null }
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) told[line.slice(0, colon)] = line.slice(colon + 1).trimStart()
  }
  return told
}

const listen = async (signal, upTo) => {
  const answer = await api('GET', `/events?types=${EVENTS}&last_event_id=${lastId}`, undefined, signal)
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    heardAt = performance.now()
    const blocks = (rest + value).split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const told = parse(block)
      if (told.id) lastId = told.id
      if (!told.data) continue
      const data = JSON.parse(told.data)
      heard(told.event, data, Date.parse(data.at) > upTo)
    }
  }
}

const connect = async () => {
  const stop = new AbortController()
  const watch = setInterval(() => {
    if (performance.now() - heardAt > QUIET_MS) stop.abort()
  }, 500)
  try {
    heardAt = performance.now()
    const answer = await api('GET', '/stats', undefined, stop.signal)
    if (answer.headers.get('Lb-Version') !== document.body.dataset.version) location.reload()
    const stats = await answer.json()
    history = stats.totals.history
    stepped = performance.now()
    $('main').hidden = false
    if (lastId === '0') $('log').replaceChildren()
    take(stats)
    showInfo(await (await api('GET', '/info', undefined, stop.signal)).json())
    refreshFailures()
    found()
    await listen(stop.signal, Date.parse(stats.at))
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 401) return hasToken
  } finally {
    clearInterval(watch)
  }
  lost()
  const pauseMs = Math.min(250 * 2 ** retries++, 3000)
  showLive()
  return new Promise((resolve) => { setTimeout(resolve, pauseMs) })
}

document.documentElement.classList.add('js')
setInterval(showLive, 500)
for (;;) await connect()
