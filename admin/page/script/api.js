// Calls of the API, with the token where there is one; and the same calls as curl commands.

import { askForToken, token } from './token.js'

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? 'refused')
    this.problem = problem
  }
}

// The answer, if it is no error; a `Refused` with the problem otherwise. After a 401 the page asks for the token.
export const call = async (method, path, body, signal) => {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {}
  const answer = await fetch(path, { method, body, signal, headers, cache: 'no-store' })
  if (answer.ok) return answer
  const problem = await answer.json().catch(() => ({ title: `status ${answer.status}` }))
  if (answer.status === 401) askForToken()
  throw new Refused({ ...problem, status: answer.status })
}

// What went wrong, for the reader.
export const wrong = (error) => {
  if (!(error instanceof Refused)) return 'The balancer does not answer.'
  const [first] = error.problem.errors ?? []
  return first ? [first.detail, first.hint].filter(Boolean).join('; ') : error.message
}

// What is lacking in an answer, in words: the part of a worker that did not answer in time. "" where nothing is.
export const lacking = (answer) => answer.headers.get('Lb-Warning') ?? ''

export const backendPath = (id, ...more) => ['/backends', encodeURIComponent(id), ...more].join('/')

export const curl = (method, path, body) => {
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
  const encoded = (value) => (/[&+%\s]/.test(value) ? encodeURIComponent(value) : value)
  const parts = ['curl']
  if (token()) parts.push('-H "Authorization: Bearer $LB_ADMIN_TOKEN"')
  if (method !== 'GET' && !(method === 'POST' && body && [...body].length)) parts.push(`-X ${method}`)
  parts.push(quoted((location.protocol === 'https:' ? location.origin : location.host) + path))
  for (const [key, value] of body ?? []) parts.push(`-d ${quoted(`${key}=${encoded(value)}`)}`)
  return parts.join(' ')
}
