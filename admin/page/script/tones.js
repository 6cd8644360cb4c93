// In which of five tones states and events are shown; the twin of tones.py.

export const TONES = {
  ready: 'ok', warming: 'ok', checking: 'warn', down: 'bad', ejected: 'bad', trial: 'warn',
  not_ready: 'warn', leaving: 'drain',
  draining: 'drain', drained: 'off', maintenance: 'off',
}
export const EVENT_TONES = {
  ...TONES, up: 'ok', admitted: 'ok', added: 'ok', calm: 'ok', panic: 'bad', 'policy failed': 'bad',
  missing: 'warn', found: 'ok', stale: 'bad', fresh: 'ok', held: 'bad', followed: 'ok',
  reloaded: 'ok', 'not reloaded': 'bad', removed: 'off',
  serving: 'ok', answering: 'ok', silent: 'bad', ended: 'bad',
  swapped: 'ok', refused: 'bad', expiring: 'warn', critical: 'bad', expired: 'bad',
  'certificate renewed': 'ok', 'renewal failed': 'bad',
  trouble: 'bad', 'trouble over': 'ok',
}
export const WORKER_TONES = {
  starting: 'warn', serving: 'ok', silent: 'bad', stopping: 'off', ended: 'bad',
}
export const MUCH_5XX = 0.05
export const SOME_5XX = 0.01

export const toneOf = (value, some, much) => (value >= much ? 'bad' : value >= some ? 'warn' : 'ok')

export const toneOfPool = (p) => {
  if (!p.available) return p.backends ? 'bad' : 'off'
  return p.available < p.backends || p.panicking ? 'warn' : 'ok'
}
