// What several modules share: how the reader wants to see the page, and the newest numbers.

export const view = { filter: '', failedOnly: false, sort: '', descending: false, paused: false }
export const latest = { stats: null }
