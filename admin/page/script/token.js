// The token of this tab, and the form that asks for it.

import { $, all, write } from './dom.js'

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
  $('keep').hidden = true
  sessionStorage.removeItem('token')
  showForm()
}

const showForm = () => {
  for (const dialog of all('dialog[open]')) dialog.close()
  $('token').hidden = false
  $('main').hidden = true
  $('secret').value = ''
  $('secret').focus()
}

const showNumbers = () => {
  $('token').hidden = true
  $('main').hidden = false
}

// Another token, by the wish of the reader: the page begins anew with it.
$('rekey').addEventListener('click', () => {
  write('token-error', '')
  $('keep').hidden = false
  showForm()
})
$('keep').addEventListener('click', showNumbers)
$('token').addEventListener('submit', (event) => {
  event.preventDefault()
  sessionStorage.setItem('token', $('secret').value.trim())
  if (!given) return location.reload()
  $('token').hidden = true
  given = null
  return resolve()
})
