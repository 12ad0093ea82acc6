import { describe, expect, it } from 'vitest'
import { merge, todoOf } from '../src/lib/files/changes'
import { gitMark, rowsOf, sorted, typeAhead, windowOf } from '../src/lib/files/rows'
import type { Folder, Order, Row } from '../src/lib/files/rows'
import { NOTHING, prune, select, topmost } from '../src/lib/files/select'
import type { Entry } from '../src/lib/files/types'
import { entry } from './files-entry'

const folder = (...entries: Entry[]): Folder => ({ state: 'ready', entries, problem: '', cut: false })
const name: Order = { key: 'name', descending: false }
const names = (entries: Entry[]) => entries.map(({ name }) => name)

describe('the order', () => {
  const list = [entry('b10'), entry('B2', { size: 9 }), entry('z', { kind: 'folder' }), entry('a', { size: 5, mtime: '2026-02-01T00:00:00Z' })]
  it('has folders first, numbers as numbers, case aside', () => expect(names(sorted(list, name))).toEqual(['z', 'a', 'B2', 'b10']))
  it('goes by size', () => expect(names(sorted(list, { key: 'size', descending: true }))).toEqual(['z', 'B2', 'a', 'b10']))
  it('goes by time', () => expect(names(sorted(list, { key: 'mtime', descending: true }))).toEqual(['z', 'a', 'B2', 'b10']))
  it('takes a link to a folder as one', () =>
    expect(names(sorted([entry('a'), entry('l', { kind: 'symlink', leads_to: 'folder' })], name))).toEqual(['l', 'a']))
})

describe('the rows of a tree', () => {
  const folders = new Map([
    ['.', folder(entry('src', { kind: 'folder' }), entry('a'))],
    ['src', folder(entry('src/x'))],
  ])
  const rows = (open: string[], all: ReadonlyMap<string, Folder> = folders) =>
    rowsOf({ root: '.', folders: all, open: new Set(open), order: name }, new WeakMap()).map((row) =>
      row.kind === 'entry' ? `${row.level} ${row.key} ${row.position}/${row.siblings} ${row.open}` : `${row.level} (${row.note})`,
    )
  it('shows what is open', () => {
    expect(rows([])).toEqual(['1 src 1/2 false', '1 a 2/2 null'])
    expect(rows(['src'])).toEqual(['1 src 1/2 true', '2 src/x 1/1 null', '1 a 2/2 null'])
  })
  it('says what is not there', () => {
    expect(rows([], new Map())).toEqual(['1 (loading)'])
    expect(rows([], new Map([['.', folder()]]))).toEqual(['1 (empty)'])
    expect(rows([], new Map([['.', { ...folder(), state: 'failed' as const, problem: 'x' }]]))).toEqual(['1 (failed)'])
    expect(rows([], new Map([['.', { ...folder(entry('a')), cut: true }]]))).toEqual(['1 a 1/1 null', '1 (cut)'])
  })
  it('draws a window of many', () => {
    expect(windowOf(0, 300, 30, 10_000, 5)).toEqual({ from: 0, to: 15 })
    expect(windowOf(30_000, 300, 30, 10_000, 5)).toEqual({ from: 995, to: 1015 })
    expect(windowOf(0, 300, 30, 3)).toEqual({ from: 0, to: 3 })
  })
  it('makes the rows of 10,000 entries again without sorting again', () => {
    const many = folder(...Array.from({ length: 10_000 }, (_, at) => entry(`f${(at * 7919) % 10_000}`)))
    const kept = new WeakMap()
    const tree = { root: '.', folders: new Map([['.', many]]), open: new Set<string>(), order: name }
    rowsOf(tree, kept)
    const first = kept.get(many)
    expect(rowsOf(tree, kept)).toHaveLength(10_000)
    expect(kept.get(many)).toBe(first)
  })
})

describe('typing a name', () => {
  const rows = ['apple', 'beta', 'Bear', 'cat'].map((n): Row => ({ kind: 'entry', key: n, entry: entry(n), level: 1, position: 1, siblings: 4, open: null }))
  it('goes on with a letter, around the end', () => {
    expect(typeAhead(rows, 0, 'b')).toBe(1)
    expect(typeAhead(rows, 1, 'b')).toBe(2)
    expect(typeAhead(rows, 2, 'b')).toBe(1)
    expect(typeAhead(rows, 1, 'be')).toBe(1)
    expect(typeAhead(rows, 1, 'bea')).toBe(2)
    expect(typeAhead(rows, 0, 'x')).toBe(-1)
  })
})

describe('the selection', () => {
  const keys = ['a', 'b', 'c', 'd']
  it('is one, several, or a range', () => {
    let now = select(keys, NOTHING, 'b', 'only')
    expect([...now.selected]).toEqual(['b'])
    now = select(keys, now, 'd', 'range')
    expect([...now.selected]).toEqual(['b', 'c', 'd'])
    now = select(keys, now, 'a', 'range')
    expect([...now.selected]).toEqual(['a', 'b'])
    now = select(keys, now, 'b', 'toggle')
    expect([...now.selected]).toEqual(['a'])
    now = select(keys, now, 'd', 'move')
    expect([[...now.selected], now.active]).toEqual([['a'], 'd'])
  })
  it('keeps what is there and puts the keyboard on what follows', () => {
    const now = { selected: new Set(['b', 'c']), active: 'c', anchor: 'c' }
    expect(prune(keys, ['a', 'b', 'd'], now)).toEqual({ selected: new Set(['b']), active: 'd', anchor: null })
    expect(prune(keys, ['a', 'b'], now).active).toBe('b')
    expect(prune(keys, [], now).active).toBe(null)
  })
  it('leaves out what lies in what is taken', () => {
    expect(topmost(['a/b/c', 'a', 'ab', 'x/y'])).toEqual(['a', 'ab', 'x/y'])
  })
})

describe('changes', () => {
  const known = new Set(['.', 'src'])
  it('are looked at where they are shown', () => {
    const todo = todoOf([{ path: 'a', change: 'modify' }, { path: 'lib/x', change: 'create' }, { path: 'src/x', change: 'delete' }], known)
    expect([...todo]).toEqual([['.', new Set(['a'])], ['src', new Set(['src/x'])]])
  })
  it('of a move touch both ends', () => {
    expect([...todoOf([{ path: 'src/b', from: 'a', change: 'move' }], known)]).toEqual([['src', new Set(['src/b'])], ['.', new Set(['a'])]])
  })
  it('of many names are a list', () => {
    expect(todoOf(Array.from({ length: 9 }, (_, n) => ({ path: `f${n}`, change: 'create' as const })), known).get('.')).toBe('all')
    expect(merge(new Set(['a', 'b', 'c', 'd']), new Set(['e', 'f', 'g']))).toBe('all')
    expect(merge(undefined, new Set(['a']))).toEqual(new Set(['a']))
  })
  it('of a folder that came anew ask for what is in it', () => {
    expect(todoOf([{ path: 'src', change: 'create' }], known).get('src')).toBe('all')
  })
})

describe('git marks', () => {
  it.each([
    ['??', 'U'],
    [' M', 'M'],
    ['M ', 'M'],
    ['AM', 'M'],
    ['A ', 'A'],
    ['UU', '!'],
    ['R ', 'R'],
  ])('%j is %s', (code, letter) => expect(gitMark(code)?.letter).toBe(letter))
  it('say nothing of what is ignored or clean', () => expect([gitMark('!!'), gitMark('  '), gitMark('')]).toEqual([null, null, null]))
})
