// The shapes of bars and lines, as attributes of SVG; the twin of shapes.py.

const CHECKS = 30
export const POINTS = 60

export const part = (value, whole) => (whole ? `${+Math.min(100, (100 * value) / whole).toPrecision(4)}%` : '0%')

export const ticks = (checks, kind) => {
  const stroke = kind === '.' ? '9v3' : '0v12'
  const offset = CHECKS - checks.length
  return [...checks].map((each, at) => (each === kind ? `M${2 * (offset + at)}.5 ${stroke}` : '')).join('')
}

export const drained = (b) => {
  if (!b.drain?.started_with) return b.drain ? '100%' : '0%'
  return part(b.drain.started_with - b.drain.remaining, b.drain.started_with)
}

// The bar of answers: class, where it begins, how wide it is.
export const stack = (codes) => {
  const counts = [codes['2xx'], codes['3xx'], codes['4xx'], codes['5xx'] + codes.failed]
  const whole = counts.reduce((sum, count) => sum + count, 0)
  let before = 0
  return counts.map((count, index) => {
    const x = part(before, whole)
    before += count
    return [`c${index + 2}`, x, part(count, whole)]
  })
}

// The bar of one attempt in a waterfall; the phase that was not completed lasts to the end.
export const phases = (attempt, total) => {
  const ends = [['connect', attempt.connected_ms], ['wait', attempt.first_byte_ms], ['body', attempt.ended_ms]]
  const last = attempt.ended_ms ?? total
  const bars = []
  let at = attempt.started_ms
  for (const [name, end] of ends) {
    const until = end ?? last
    bars.push([name, part(at, total), part(Math.max(0, until - at), total)])
    at = Math.max(at, until)
    if (end === null) break
  }
  return bars
}

export const spark = (values, top = 0) => {
  const known = values.map((value, index) => [index, value]).filter(([, value]) => value !== null)
  if (known.length < 2) return ''
  const highest = Math.max(top, ...known.map(([, value]) => value)) || 1
  const offset = POINTS - values.length
  const x = (at) => (((offset + at) * 100) / (POINTS - 1)).toFixed(1)
  return known.map(([at, value]) => `${x(at)},${(29 - (value / highest) * 27).toFixed(1)}`).join(' ')
}

export const area = (values, top = 0) => {
  const line = spark(values, top)
  if (!line) return ''
  const points = line.split(' ')
  return `${points[0].split(',')[0]},30 ${line} ${points.at(-1).split(',')[0]},30`
}
