// Addresses within the page: what stands behind the # is a path and, so that going back and reloading keep them, the filters
// of the list.

const FILTERS = ['flow', 'status', 'before']

/** The address of a path such as /runs/0198…, with the filters that are set. */
export function address(path, query = {}) {
  const set = new URLSearchParams(FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]))
  return `#${path}${set.size ? `?${set}` : ''}`
}

/** Reads what stands behind the #: {name: 'list' | 'run' | 'start' | 'unknown', run, flow, query}. */
export function readAddress(hash) {
  const [path, search = ''] = hash.replace(/^#/, '').split(/\?(.*)/s)
  const given = new URLSearchParams(search)
  const query = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? '']))
  const [, first = '', second = '', ...more] = path.split('/').map(decoded)
  if (more.length === 0) {
    if (first === '' && second === '') return { name: 'list', query }
    if (first === 'runs' && second) return { name: 'run', run: second, query }
    if (first === 'start') return { name: 'start', flow: second, query }
  }
  return { name: 'unknown', query }
}

function decoded(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
