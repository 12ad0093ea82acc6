// What is selected in a list, and where its keyboard is. Keys are those of rows.

export interface Selection {
  selected: ReadonlySet<string>
  /** Where the keyboard is. */
  active: string | null
  /** Where a range begins. */
  anchor: string | null
}

export const NOTHING: Selection = { selected: new Set(), active: null, anchor: null }

/** How a row was gone to: alone, with Ctrl or Cmd (one more, or one less), with Shift (all from the anchor on). */
export type How = 'only' | 'toggle' | 'range' | 'move'

export function select(keys: readonly string[], now: Selection, key: string, how: How): Selection {
  if (how === 'move') return { ...now, active: key }
  if (how === 'toggle') {
    const selected = new Set(now.selected)
    if (!selected.delete(key)) selected.add(key)
    return { selected, active: key, anchor: key }
  }
  const from = how === 'range' && now.anchor !== null ? keys.indexOf(now.anchor) : -1
  const to = keys.indexOf(key)
  if (from < 0 || to < 0) return { selected: new Set([key]), active: key, anchor: key }
  return { selected: new Set(keys.slice(Math.min(from, to), Math.max(from, to) + 1)), active: key, anchor: now.anchor }
}

/** What is left of it among the rows there are. The keyboard goes to the row that took the place of the lost one. */
export function prune(before: readonly string[], keys: readonly string[], now: Selection): Selection {
  const there = new Set(keys)
  const selected = new Set([...now.selected].filter((key) => there.has(key)))
  const anchor = now.anchor !== null && there.has(now.anchor) ? now.anchor : null
  if (now.active === null || there.has(now.active)) return { selected, active: now.active, anchor }
  const at = before.indexOf(now.active)
  const next = before.slice(at + 1).find((key) => there.has(key)) ?? before.slice(0, Math.max(0, at)).findLast((key) => there.has(key))
  return { selected, active: next ?? keys[0] ?? null, anchor }
}

/** Of paths, those that lie below no other of them: what is done to a folder is done to all in it. */
export function topmost(paths: Iterable<string>): string[] {
  const all = new Set(paths)
  return [...all].filter((path) => {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) if (all.has(path.slice(0, at))) return false
    return true
  })
}
