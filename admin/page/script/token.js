// The token of this tab, and the form that asks for it.

import { $, write } from './dom.js'

let given = null // while the form is open: resolves when the reader has sent it
let resolve = () => {}

export const token = () => sessionStorage.getItem('token')
export const isAsked = () => given !== null
export const tokenGiven = () => given

export const askForToken = () => {
  if (given) return
  given = new Promise((done) => { resolve = done })
  $('live').className = 'live'
  write('says', 'no numbers without the token')
  write('token-error', token() ? 'That is not the token.' : '')
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
  given = null
  resolve()
})
