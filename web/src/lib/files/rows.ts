// From folders to the rows of a tree, and in which order.
import { isFolder } from './types'
import type { Entry } from './types'

export type SortKey = 'name' | 'size' | 'mtime'

export interface Order {
  key: SortKey
  descending: boolean
}

/** What is known of one folder's content. */
export interface Folder {
  state: 'loading' | 'ready' | 'failed'
  /** In no order. */
  entries: Entry[]
  problem: string
  /** The folder has more names than were sent. */
  cut: boolean
}

export type Row =
  | { kind: 'entry'; key: string; entry: Entry; level: number; position: number; siblings: number; open: boolean | null }
  | { kind: 'note'; key: string; folder: string; level: number; note: 'loading' | 'failed' | 'empty' | 'cut'; text: string }

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

function byName(a: Entry, b: Entry): number {
  return collator.compare(a.name, b.name) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}

/** Folders first, then by the key; equal ones by name. */
export function sorted(entries: readonly Entry[], order: Order): Entry[] {
  const sign = order.descending ? -1 : 1
  const compare = (a: Entry, b: Entry): number => {
    const folders = Number(isFolder(b)) - Number(isFolder(a))
    if (folders !== 0) return folders
    if (order.key === 'size' && a.size !== b.size) return sign * (a.size - b.size)
    if (order.key === 'mtime' && a.mtime !== b.mtime) return sign * (Date.parse(a.mtime) - Date.parse(b.mtime))
    return order.key === 'name' ? sign * byName(a, b) : byName(a, b)
  }
  return [...entries].sort(compare)
}

export interface Tree {
  root: string
  folders: ReadonlyMap<string, Folder>
  open: ReadonlySet<string>
  order: Order
}

/** The rows that an open tree shows, from the top. A folder's sorted entries are kept for the next time. */
export function rowsOf(tree: Tree, kept: WeakMap<Folder, { order: Order; sorted: Entry[] }>): Row[] {
  const rows: Row[] = []
  const add = (path: string, level: number) => {
    const folder = tree.folders.get(path)
    const note = (kind: 'loading' | 'failed' | 'empty' | 'cut', text = '') =>
      rows.push({ kind: 'note', key: `${path}\0${kind}`, folder: path, level, note: kind, text })
    if (!folder) return note('loading')
    if (folder.state === 'failed') return note('failed', folder.problem)
    if (folder.state === 'loading' && folder.entries.length === 0) return note('loading')
    const entries = sortedOf(folder, tree.order, kept)
    if (entries.length === 0) note('empty')
    entries.forEach((entry, at) => {
      const open = entry.kind === 'folder' ? tree.open.has(entry.path) : null
      rows.push({ kind: 'entry', key: entry.path, entry, level, position: at + 1, siblings: entries.length, open })
      if (open) add(entry.path, level + 1)
    })
    if (folder.cut) note('cut')
    return rows.length
  }
  add(tree.root, 1)
  return rows
}

function sortedOf(folder: Folder, order: Order, kept: WeakMap<Folder, { order: Order; sorted: Entry[] }>): Entry[] {
  const known = kept.get(folder)
  if (known && known.order.key === order.key && known.order.descending === order.descending) return known.sorted
  const fresh = sorted(folder.entries, order)
  kept.set(folder, { order, sorted: fresh })
  return fresh
}

/** The rows from which to which a window over them draws, with some to spare. */
export function windowOf(scroll: number, height: number, row: number, total: number, spare = 12): { from: number; to: number } {
  const from = Math.max(0, Math.floor(scroll / row) - spare)
  return { from, to: Math.min(total, Math.ceil((scroll + height) / row) + spare) }
}

/** The next row whose name begins with what was typed, after one, around the end; -1: none. */
export function typeAhead(rows: readonly Row[], after: number, text: string): number {
  const wanted = text.toLowerCase()
  for (let step = 0; step < rows.length; step++) {
    // A single letter goes on from the row below; more letters may stay where they are.
    const at = (after + step + (text.length === 1 ? 1 : 0) + rows.length) % rows.length
    const row = rows[at]!
    if (row.kind === 'entry' && row.entry.name.toLowerCase().startsWith(wanted)) return at
  }
  return -1
}

/** What git's two letters mean for a mark: a letter and words. */
export function gitMark(code: string): { letter: string; words: string } | null {
  if (code === '??') return { letter: 'U', words: 'Untracked by git' }
  if (code === '!!' || code.trim() === '') return null
  if (/^(DD|AU|UD|UA|DU|AA|UU)$/.test(code)) return { letter: '!', words: 'In conflict' }
  const letter = code[1] && code[1] !== ' ' && code[1] !== '.' ? code[1] : code[0]!
  const words: Record<string, string> = { M: 'Modified', A: 'Added', D: 'Deleted', R: 'Renamed', C: 'Copied', T: 'Changed in kind' }
  return { letter, words: `${words[letter] ?? 'Changed'} since the last commit` }
}
