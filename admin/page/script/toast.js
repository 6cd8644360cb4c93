// What an action has done, for a few seconds, with the curl command that does the same; and the copy buttons.

import { call, curl, wrong } from './api.js'
import { $, all } from './dom.js'

const GOOD_MS = 7000
const BAD_MS = 12000

let ends = 0
export const toast = (text, command, isBad = false) => {
  const box = $('toast')
  box.querySelector('span').textContent = text
  box.querySelector('code').textContent = command
  box.classList.toggle('bad', isBad)
  box.hidden = false
  box.hidePopover()
  box.showPopover() // above a dialog that is open
  clearTimeout(ends)
  ends = setTimeout(() => {
    box.hidden = true
    box.hidePopover()
  }, isBad ? BAD_MS : GOOD_MS)
}

// Call the API for the reader; whether it did as asked. The toast says `done`, or what went wrong.
export const change = async (done, method, path, body) => {
  try {
    await call(method, path, body)
    toast(done, curl(method, path, body))
    return true
  } catch (error) {
    toast(wrong(error), curl(method, path, body), true)
    return false
  }
}

const copy = async (text, button) => {
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = 'Copied'
  } catch {
    button.textContent = 'Press Ctrl+C'
    getSelection().selectAllChildren(button.previousElementSibling)
  }
  setTimeout(() => { button.textContent = 'Copy as curl' }, 1500)
}

for (const box of all('.curl, .toast')) {
  const button = box.querySelector('button')
  button.addEventListener('click', () => copy(box.querySelector('code').textContent, button))
}
