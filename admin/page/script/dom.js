// Shorthands for the DOM, and `Part`: a piece of the page that is filled again and again.

export const $ = (id) => document.getElementById(id)
export const all = (selector, root = document) => root.querySelectorAll(selector)
export const write = (id, text) => { $(id).textContent = text }

export const element = (name, text = '', className = '') => {
  const made = document.createElement(name)
  made.textContent = text
  if (className) made.className = className
  return made
}

export const svg = (name, attributes = {}) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

// A copy of the markup that the server wrote into this <template>.
export const copyOf = (template) => $(template).content.firstElementChild.cloneNode(true)

// The elements with `data-f` below a root, by that name, each with what it shows now. The DOM is only touched
// where the new value is another one: most values are the same every second.
export class Part {
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
