// The shapes of bars and lines, as attributes of SVG; the twin of shapes.py.

const CHECKS = 30
export const POINTS = 60
export const STEP_MS = 5000

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

// A line over five minutes, the newest at the right end, as high as its highest value or as `top`. What was not
// measured, such as the latency of no request, is zero: the line falls and rises there at once.
export const spark = (values, top = 0) => {
  if (values.length < 2) return ''
  const highest = Math.max(top, ...values) || 1
  const offset = POINTS - values.length
  const x = (at) => (((offset + at) * 100) / (POINTS - 1)).toFixed(1)
  return values.map((value, at) => `${x(at)},${(29 - ((value ?? 0) / highest) * 27).toFixed(1)}`).join(' ')
}

export const area = (values, top = 0) => {
  const line = spark(values, top)
  if (!line) return ''
  const points = line.split(' ')
  return `${points[0].split(',')[0]},30 ${line} ${points.at(-1).split(',')[0]},30`
}

// Upright strokes at these times, over the same five minutes that end at `now`.
export const marks = (times, now) => times
  .map((time) => 100 - ((now - time) / ((POINTS - 1) * STEP_MS)) * 100)
  .filter((x) => x >= 0 && x <= 100)
  .map((x) => `M${x.toFixed(1)} 0V30`)
  .join('')
