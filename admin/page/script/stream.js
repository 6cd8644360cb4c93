// The stream of events: it ends when the balancer ends, and is opened again until the balancer is back. It is
// read with fetch(), because EventSource cannot send a token.

import { Refused, call } from './api.js'
import { showCondition } from './condition.js'
import { $, write } from './dom.js'
import { announce } from './event_log.js'
import { view } from './state.js'
import { isAsked, token, tokenGiven } from './token.js'

const TYPES = 'stats,backend,health,drain,config,balancer,worker,certificate,renewal,trouble,request_failed'
const QUIET_MS = 3500 // three ticks and more without a byte: the connection is dead
const STALE_MS = 15000
const LONGEST_PAUSE_MS = 3000

let lastId = '0' // the first time, replay what is remembered
let lostAt = performance.now() // 0 while bytes come
let heardAt = 0
let retries = 0

export const showLive = () => {
  if (isAsked()) return
  const silent = lostAt ? performance.now() - lostAt : 0
  const tone = !lostAt ? 'on' : silent > STALE_MS ? 'stale' : 'wait'
  $('live').className = `live ${view.paused && !lostAt ? 'paused' : tone}`
  const seconds = Math.floor(silent / 1000)
  const wait = retries ? `reconnecting ${seconds} s` : 'connecting'
  const words = { on: view.paused ? 'paused' : 'live', wait, stale: `no numbers for ${seconds} s` }
  if ($('says').textContent !== words[tone]) write('says', words[tone])
  document.body.classList.toggle('stale', tone === 'stale')
  if (tone === 'stale') showCondition('bad', '✗ lost')
}

const lost = () => {
  if (lostAt) return
  lostAt = performance.now()
  announce('The connection is lost.')
}

const found = () => {
  if (retries) announce('The connection is back.')
  lostAt = retries = 0
  showLive()
}

const parse = (block) => {
  const event = { event: 'message', data: '', id: null }
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).trimStart()
  }
  return event
}

const listen = async (signal, told) => {
  const answer = await call('GET', `/events?types=${TYPES}&last_event_id=${lastId}`, undefined, signal)
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    heardAt = performance.now()
    const blocks = (rest + value).split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const event = parse(block)
      if (event.id) lastId = event.id
      if (event.data) told(event.event, JSON.parse(event.data))
    }
  }
}

// One connection: the numbers first, then events until it ends, then a pause, or the token.
// `begin` takes the numbers and whether they are the first; `told` takes each event, and whether it is newer.
const connect = async (begin, told) => {
  const stop = new AbortController()
  const watch = setInterval(() => {
    if (performance.now() - heardAt > QUIET_MS) stop.abort()
  }, 500)
  try {
    heardAt = performance.now()
    const answer = await call('GET', '/stats', undefined, stop.signal)
    if (answer.headers.get('Lb-Version') !== document.body.dataset.version) location.reload()
    const stats = await answer.json()
    $('main').hidden = false
    begin(stats, lastId === '0')
    showInfo(await (await call('GET', '/info', undefined, stop.signal)).json())
    found()
    await listen(stop.signal, (type, data) => told(type, data, Date.parse(data.at) > Date.parse(stats.at)))
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 401) return tokenGiven()
  } finally {
    clearInterval(watch)
  }
  lost()
  const pauseMs = Math.min(250 * 2 ** retries++, LONGEST_PAUSE_MS)
  showLive()
  return new Promise((resolve) => { setTimeout(resolve, pauseMs) })
}

const showInfo = ({ node, source, caller }) => {
  write('where', ` on ${node} · ${source.split('/').pop()}`)
  write('who', `${caller.name} · ${caller.scope}`)
  document.body.dataset.scope = caller.scope
  $('rekey').hidden = !token() && caller.scope === 'admin' // where no token is needed there is none to change
}

export const follow = async (begin, told) => {
  setInterval(showLive, 500)
  for (;;) await connect(begin, told)
}
