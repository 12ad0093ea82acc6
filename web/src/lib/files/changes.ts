import { parentOf } from './names'
import type { Change } from './types'

/** What a batch of changes asks of a folder that is shown: looks at single names, or at all of it again. */
export type Todo = Map<string, Set<string> | 'all'>

/** More names than this in one folder are cheaper to list than to look at one by one. */
const FEW = 6

/** Which folders of those that are known have to be looked at. */
export function todoOf(changes: readonly Change[], known: { has(folder: string): boolean }): Todo {
  const todo: Todo = new Map()
  const look = (path: string) => {
    const folder = parentOf(path)
    if (!known.has(folder)) return
    const names = todo.get(folder)
    if (names === 'all') return
    if (!names) todo.set(folder, new Set([path]))
    else if (names.add(path).size > FEW) todo.set(folder, 'all')
  }
  for (const { path, change, from } of changes) {
    look(path)
    if (change === 'move' && from) look(from)
    // What took the place of a folder that is open may have other things in it.
    if ((change === 'move' || change === 'create') && known.has(path)) todo.set(path, 'all')
  }
  return todo
}

/** Both together. */
export function merge(a: Set<string> | 'all' | undefined, b: Set<string> | 'all'): Set<string> | 'all' {
  if (a === undefined) return b
  if (a === 'all' || b === 'all') return 'all'
  const both = new Set([...a, ...b])
  return both.size > FEW ? 'all' : both
}
