// The form for a new backend. The API judges it, and each of its messages is shown at the field it is about.

import { call, curl, wrong } from './api.js'
import { $, all, element } from './dom.js'
import { latest } from './state.js'
import { toast } from './toast.js'

const form = $('new').querySelector('form')

export const openAdd = (event, pool) => {
  event.preventDefault()
  form.reset()
  clearErrors()
  $('new-pool').replaceChildren(...(latest.stats?.pools ?? []).map((p) => element('option', p.name)))
  if (pool !== undefined) $('new-pool').value = pool
  showRequest()
  $('new').showModal()
}

const filled = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()))

const showRequest = () => {
  $('new').querySelector('code').textContent = curl('POST', '/backends', filled())
}

const clearErrors = () => {
  for (const error of all('.error', form)) error.textContent = ''
  for (const input of all('[aria-invalid]', form)) input.removeAttribute('aria-invalid')
}

const showMistakes = (error) => {
  const rest = []
  for (const mistake of error.problem?.errors ?? []) {
    const name = mistake.pointer?.slice(2) ?? ''
    const text = [mistake.detail, mistake.hint].filter(Boolean).join('; ')
    const at = $(`new-${name}-error`)
    if (!at) {
      rest.push(`${name}: ${text}`)
      continue
    }
    at.textContent = text
    form.elements[name].setAttribute('aria-invalid', 'true')
  }
  if (!error.problem?.errors?.length) rest.push(wrong(error))
  $('new-error').textContent = rest.join('; ')
  form.querySelector('[aria-invalid]')?.focus()
}

$('add').addEventListener('click', (event) => openAdd(event))
form.querySelector('[data-close]').addEventListener('click', () => $('new').close())
form.addEventListener('input', showRequest)
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  clearErrors()
  const body = filled()
  try {
    const added = await (await call('POST', '/backends', body)).json()
    $('new').close()
    toast(`${added.id} is there.`, curl('POST', '/backends', body))
  } catch (error) {
    showMistakes(error)
  }
})
