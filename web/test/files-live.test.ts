import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '../src/lib/api/client'
import { jsonLines } from '../src/lib/files/lines'
import { EventParser } from '../src/lib/files/sse'
import { FileTree } from '../src/lib/files/tree.svelte'
import type { TreeSource } from '../src/lib/files/tree.svelte'
import type { Change, Entry } from '../src/lib/files/types'
import { Watch } from '../src/lib/files/watch'
import { entry } from './files-entry'

describe('server-sent events', () => {
  const text = ': hello\n\nid: 1\nevent: ready\ndata: {}\n\r\nid: 2\r\nevent: changes\r\ndata: {"a":\r\ndata: 1}\r\n\r\nevent: nothing\n\ndata: plain\n\n'
  const wanted = [
    { id: '1', event: 'ready', data: '{}' },
    { id: '2', event: 'changes', data: '{"a":\n1}' },
    { id: '2', event: 'message', data: 'plain' },
  ]
  it('are the same however they are cut', () => {
    for (let size = 1; size <= text.length; size++) {
      const parser = new EventParser()
      const got = []
      for (let at = 0; at < text.length; at += size) got.push(...parser.take(text.slice(at, at + size)))
      expect(got, `in pieces of ${size}`).toEqual(wanted)
    }
  })
})

const stream = (...pieces: string[]) =>
  new ReadableStream<Uint8Array>({
    start(out) {
      for (const piece of pieces) out.enqueue(new TextEncoder().encode(piece))
      out.close()
    },
  })

describe('lines of JSON', () => {
  it('come whole', async () => {
    const got = []
    for await (const line of jsonLines(stream('{"a":1}\n{"b"', ':"ü', '"}\n\n{"c":3}'))) got.push(line)
    expect(got).toEqual([{ a: 1 }, { b: 'ü' }, { c: 3 }])
  })
})

/** A server whose answers to a watch a test holds in its hand. */
class Hand {
  opened = 0
  refuse: Problem | null = null
  out: ReadableStreamDefaultController<Uint8Array> | null = null
  open = (signal: AbortSignal): Promise<Response> => {
    this.opened++
    if (this.refuse) return Promise.reject(this.refuse)
    const body = new ReadableStream<Uint8Array>({ start: (out) => void (this.out = out) })
    signal.addEventListener('abort', () => this.out?.error(new Error('aborted')))
    return Promise.resolve(new Response(body))
  }
  say(event: string, data: unknown): void {
    this.out!.enqueue(new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
  }
}

describe('the watch', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  function begin() {
    const hand = new Hand()
    const seen: string[] = []
    const watch = new Watch({
      open: hand.open,
      onFresh: () => seen.push('fresh'),
      onChanges: (changes) => seen.push(changes.map(({ path }) => path).join()),
      onState: (state) => seen.push(state),
      random: () => 1,
    })
    return { hand, seen, watch }
  }

  it('tells changes, and when all has to be listed again', async () => {
    const { hand, seen, watch } = begin()
    await vi.advanceTimersByTimeAsync(0)
    hand.say('ready', {})
    hand.say('changes', { events: [{ path: 'a', change: 'create' }] })
    hand.say('overflow', {})
    await vi.advanceTimersByTimeAsync(0)
    expect(seen).toEqual(['connecting', 'live', 'fresh', 'a', 'fresh'])
    watch.stop()
  })

  it('comes back after a cut, later each time, and lists again', async () => {
    const { hand, seen, watch } = begin()
    await vi.advanceTimersByTimeAsync(0)
    hand.out!.close()
    await vi.advanceTimersByTimeAsync(0)
    hand.refuse = new Problem(502, '', '')
    await vi.advanceTimersByTimeAsync(500)
    expect(hand.opened).toBe(2)
    await vi.advanceTimersByTimeAsync(999)
    expect(hand.opened).toBe(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(hand.opened).toBe(3)
    hand.refuse = null
    await vi.advanceTimersByTimeAsync(2000)
    hand.say('ready', {})
    await vi.advanceTimersByTimeAsync(0)
    expect(seen.slice(-3)).toEqual(['connecting', 'live', 'fresh'])
    watch.stop()
  })

  it('takes silence for death', async () => {
    const { hand, watch } = begin()
    await vi.advanceTimersByTimeAsync(0)
    hand.say('ready', {})
    await vi.advanceTimersByTimeAsync(49_000)
    expect(hand.opened).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(hand.opened).toBe(2)
    watch.stop()
  })

  it('says when there is none, and ends when it is told to', async () => {
    const hand = new Hand()
    hand.refuse = new Problem(404, 'not_found', '')
    const seen: string[] = []
    const watch = new Watch({ open: hand.open, onFresh: () => {}, onChanges: () => {}, onState: (s) => seen.push(s) })
    await vi.advanceTimersByTimeAsync(0)
    expect(seen).toEqual(['connecting', 'missing'])
    watch.stop()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(hand.opened).toBe(1)
  })
})

/** A home in memory. */
class Home implements TreeSource {
  hand = new Hand()
  lists: string[] = []
  stats: string[] = []
  /** Answers to lists wait for this. */
  gate: Promise<void> = Promise.resolve()
  constructor(readonly entries: Map<string, Entry>) {}
  async list(path: string, hidden: boolean) {
    this.lists.push(path)
    const below = path === '.' ? '' : `${path}/`
    const entries = [...this.entries.values()].filter(
      (e) => e.path.startsWith(below) && !e.path.slice(below.length).includes('/') && (hidden || !e.name.startsWith('.')),
    )
    await this.gate
    if (path !== '.' && !this.entries.has(path)) throw new Problem(404, 'no_file', 'Gone.')
    return { entries, total: entries.length }
  }
  stat(path: string) {
    this.stats.push(path)
    const found = this.entries.get(path)
    return found ? Promise.resolve(found) : Promise.reject(new Problem(404, 'no_file', 'Gone.'))
  }
  git = () => Promise.reject(new Problem(404, '', ''))
  watch = (_: string, signal: AbortSignal) => this.hand.open(signal)
}

describe('the tree', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())
  const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

  async function begin(...paths: string[]) {
    const home = new Home(new Map(paths.map((path) => [path, entry(path, path.endsWith('d') ? { kind: 'folder' } : {})])))
    const tree = new FileTree(home)
    tree.start()
    await settle()
    home.hand.say('ready', {})
    await settle(2000)
    const shown = () => tree.rows.map((row) => (row.kind === 'entry' ? row.key : row.note))
    const change = async (...events: Change[]) => {
      home.hand.say('changes', { events })
      await settle(500)
    }
    return { home, tree, shown, change }
  }

  it('shows what comes and goes', async () => {
    const { home, tree, shown, change } = await begin('a', 'd', 'd/x')
    expect(shown()).toEqual(['d', 'a'])
    tree.toggle('d')
    await settle()
    expect(shown()).toEqual(['d', 'd/x', 'a'])
    const lists = home.lists.length
    home.entries.set('d/y', entry('d/y'))
    home.entries.delete('a')
    await change({ path: 'd/y', change: 'create' }, { path: 'a', change: 'delete' })
    expect(shown()).toEqual(['d', 'd/x', 'd/y'])
    expect(home.lists.length, 'a few names are looked at one by one').toBe(lists)
    home.entries.clear()
    await change({ path: 'd', change: 'delete' })
    expect(shown()).toEqual(['empty'])
    expect(tree.folders.has('d')).toBe(false)
    tree.stop()
  })

  it('lists a folder again when much changes in it, but not all the time', async () => {
    const { home, tree, shown } = await begin('a')
    home.lists = []
    for (let batch = 0; batch < 20; batch++) {
      const events: Change[] = Array.from({ length: 10 }, (_, n) => ({ path: `f${batch}-${n}`, change: 'create' }))
      for (const { path } of events) home.entries.set(path, entry(path))
      home.hand.say('changes', { events })
      await settle(75)
    }
    await settle(1000)
    expect(shown()).toHaveLength(201)
    expect(home.lists.length).toBeLessThan(8)
    tree.stop()
  })

  it('believes no list that was overtaken by a change', async () => {
    const { home, tree, shown } = await begin('a', 'b')
    let open = () => {}
    home.gate = new Promise((resolve) => (open = resolve))
    void tree.load('.') // sees b
    home.entries.delete('b')
    home.hand.say('changes', { events: [{ path: 'b', change: 'delete' }] })
    await settle(500)
    open()
    await settle(500)
    expect(shown()).toEqual(['a'])
    tree.stop()
  })

  it('keeps hidden files away, also when they change', async () => {
    const { home, tree, shown, change } = await begin('a', '.h')
    expect(shown()).toEqual(['a'])
    await change({ path: '.h', change: 'modify' })
    expect(shown()).toEqual(['a'])
    tree.setHidden(true)
    await settle()
    expect(shown()).toEqual(['.h', 'a'])
    home.entries.set('.i', entry('.i'))
    await change({ path: '.i', change: 'create' })
    expect(shown()).toEqual(['.h', '.i', 'a'])
    tree.stop()
  })

  it('goes into a folder and comes out on it', async () => {
    const { tree, shown } = await begin('a', 'd', 'd/d', 'd/d/x')
    tree.go('d/d')
    await settle()
    expect(shown()).toEqual(['d/d/x'])
    tree.go('.')
    await settle()
    expect(tree.selection.active).toBe('d')
    tree.stop()
  })

  it('keeps the keyboard near what was deleted', async () => {
    const { home, tree, change } = await begin('a', 'b', 'c')
    tree.select('b', 'only')
    home.entries.delete('b')
    await change({ path: 'b', change: 'delete' })
    expect(tree.selection.active).toBe('c')
    expect(tree.selection.selected.size).toBe(0)
    tree.stop()
  })
})
