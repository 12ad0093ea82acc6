import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Connection } from '../src/lib/terminal/connection'
import type { ConnectionOptions } from '../src/lib/terminal/connection'
import type { Sink } from '../src/lib/terminal/output'
import type { Bytes } from '../src/lib/terminal/wire'
import { FakeGuest } from './fake-guest'
import { seeded, Wire } from './network'

/** A screen that keeps what it was given and draws when the test says so. */
class Paper implements Sink {
  shown: number[] = []
  waiting: Array<() => void> = []
  resets = 0

  write(bytes: Bytes, _past: boolean, done: () => void): void {
    for (const byte of bytes) this.shown.push(byte)
    this.waiting.push(done)
  }

  redraw(): void {}
  reset(): void {
    this.resets++
    this.shown = []
  }

  present(): void {}

  resize(): void {}

  draw(): void {
    this.waiting.shift()?.()
  }
}

function world(guest: FakeGuest, random: () => number, more: Partial<ConnectionOptions> = {}) {
  const wires: Wire[] = []
  const papers = new Map<string, Paper>()
  const lost: Bytes[] = []
  const counted = new Map<string, { from: number; bytes: number[]; jumps: number }>()
  const connection = new Connection({
    dial: () => {
      const wire = new Wire(guest)
      wires.push(wire)
      return wire
    },
    explain: () => Promise.resolve({ kind: 'retry', why: 'test', pace: 'normal' }),
    client: 'client_0123456789',
    visible: () => true,
    online: () => true,
    random,
    size: { cols: 80, rows: 24 },
    sink: (tab) => {
      const paper = new Paper()
      papers.set(tab, paper)
      return paper
    },
    onState: () => {},
    onWelcome: () => {},
    onTabs: () => {},
    onStream: () => {},
    onGone: () => {},
    onLost: (_tab, bytes) => lost.push(bytes),
    onOpened: () => {},
    onNotOpened: () => {},
    onProblem: () => {},
    onStreamBytes: (tab, offset, bytes) => {
      let run = counted.get(tab)
      if (!run || run.from + run.bytes.length !== offset) counted.set(tab, (run = { from: offset, bytes: [], jumps: (run?.jumps ?? -1) + 1 }))
      run.bytes.push(...bytes)
    },
    ...more,
  })
  const wire = () => wires.at(-1)!
  const settle = async () => {
    for (let i = 0; i < 40; i++) {
      wire().open()
      while (wire().up.length > 0) wire().deliverUp()
      for (const c of guest.connections) c.flush()
      while (wire().down.length > 0) wire().deliverDown()
      for (const paper of papers.values()) while (paper.waiting.length > 0) paper.draw()
      await vi.advanceTimersByTimeAsync(500)
    }
  }
  return { connection, wire, wires, papers, lost, counted, settle }
}

function randomBytes(random: () => number, most: number): Bytes {
  return Uint8Array.from({ length: Math.ceil(random() * most) }, () => Math.floor(random() * 256))
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('many random drops', () => {
  it.each(Array.from({ length: 8 }, (_, i) => i + 1))('seed %i: no byte lost, none twice, either way', async (seed) => {
    const random = seeded(seed)
    const guest = new FakeGuest()
    const shells = [guest.add('main'), guest.add('sh-2')]
    const { connection, wire, papers, counted, settle, lost } = world(guest, random)
    const typed = shells.map(() => [] as number[])
    connection.link.connect()
    for (const shell of shells) connection.watch(shell.id)
    await settle()
    let cuts = 0
    for (let step = 0; cuts < 100; step++) {
      const which = Math.floor(random() * 2)
      const shell = shells[which]!
      const dice = random()
      if (dice < 0.15) guest.print(shell, randomBytes(random, 3000))
      else if (dice < 0.35) {
        const bytes = randomBytes(random, dice < 0.16 ? 90_000 : 40)
        typed[which]!.push(...bytes)
        connection.streams.get(shell.id)!.type(bytes)
      } else if (dice < 0.5) for (let n = random() * 8; n > 0; n--) wire().deliverUp()
      else if (dice < 0.7) for (let n = random() * 8; n > 0; n--) wire().deliverDown()
      else if (dice < 0.8) papers.get(shell.id)!.draw()
      else if (dice < 0.88) wire().open()
      else if (dice < 0.93) for (const c of guest.connections) c.flush(1 + Math.floor(random() * 2000))
      else if (dice < 0.95) {
        wire().cut(random() < 0.5)
        cuts++
      } else await vi.advanceTimersByTimeAsync(Math.floor(random() * 400))
    }
    await settle()
    shells.forEach((shell, i) => {
      expect(Buffer.from(shell.typed).equals(Buffer.from(typed[i]!))).toBe(true)
      const run = counted.get(shell.id)!
      expect(run.jumps).toBe(0)
      expect(Buffer.from(run.bytes).equals(Buffer.from(shell.history.slice(run.from)))).toBe(true)
      // The first attach draws a snapshot of what was printed before; then all is stream.
      const shown = papers.get(shell.id)!.shown
      expect(Buffer.from(shown.slice(-shell.history.length)).equals(Buffer.from(shell.history))).toBe(true)
      expect(connection.streams.get(shell.id)!.input.pending).toBe(0)
    })
    expect(lost).toEqual([])
  })

  it.each([21, 22, 23, 24, 25, 26])('seed %i: a log that forgets ends in the right picture', async (seed) => {
    const random = seeded(seed)
    const guest = new FakeGuest(2000)
    const shell = guest.add('main')
    const { connection, wire, papers, settle } = world(guest, random)
    connection.link.connect()
    connection.watch(shell.id)
    // Letters only: the snapshot's own reset is then easy to tell apart.
    const letters = () => randomBytes(random, 900).map((b) => 97 + (b % 26))
    for (let step = 0; step < 3000; step++) {
      const dice = random()
      if (dice < 0.1) guest.print(shell, letters())
      else if (dice < 0.3) wire().deliverUp()
      else if (dice < 0.6) wire().deliverDown()
      else if (dice < 0.7) papers.get(shell.id)!.draw()
      else if (dice < 0.8) wire().open()
      else if (dice < 0.9) for (const c of guest.connections) c.flush(300)
      else if (dice < 0.93) wire().cut(false)
      else await vi.advanceTimersByTimeAsync(100)
    }
    await settle()
    const shown = papers.get(shell.id)!.shown
    const picture = shown.slice(shown.lastIndexOf(0x63, shown.lastIndexOf(0x1b) + 1) + 1)
    expect(picture.length).toBeGreaterThanOrEqual(Math.min(2000, shell.history.length))
    expect(picture).toEqual(shell.history.slice(-picture.length))
    expect(connection.streams.get(shell.id)!.output.received).toBe(shell.history.length)
  })
})

describe('what belongs to one shell stays with it', () => {
  it('gives back input that a dead shell never read', async () => {
    const guest = new FakeGuest()
    const shell = guest.add('main')
    const { connection, wire, lost, settle, papers } = world(guest, () => 0)
    connection.link.connect()
    connection.watch(shell.id)
    await settle()
    connection.streams.get(shell.id)!.type(new TextEncoder().encode('make\r'))
    await settle()
    wire().cut(false)
    connection.streams.get(shell.id)!.type(new TextEncoder().encode('rm x\r'))
    shell.restart()
    await settle()
    expect(Buffer.from(shell.typed).toString()).toBe('make\r')
    expect(Buffer.concat(lost).toString()).toBe('rm x\r')
    connection.streams.get(shell.id)!.type(new TextEncoder().encode('ls\r'))
    await settle()
    expect(Buffer.from(shell.typed).toString()).toBe('make\rls\r')
    expect(papers.get(shell.id)!.waiting).toEqual([])
  })

  it('starts a new shell in an ended tab, on a clean screen', async () => {
    const guest = new FakeGuest()
    const shell = guest.add('main')
    const { connection, settle, papers } = world(guest, () => 0)
    connection.link.connect()
    const stream = connection.watch(shell.id)
    await settle()
    guest.print(shell, Buffer.from('bye'))
    guest.exit(shell, 3)
    await settle()
    expect(stream.ended).toEqual({ code: 3 })
    connection.restart(shell.id)
    await settle()
    guest.print(shell, Buffer.from('$ '))
    await settle()
    expect(stream.ended).toBeNull()
    expect(papers.get(shell.id)!.resets).toBe(1)
    expect(Buffer.from(papers.get(shell.id)!.shown).toString()).toBe('$ ')
    stream.type(new TextEncoder().encode('x'))
    await settle()
    expect(Buffer.from(shell.typed).toString()).toBe('x')
  })

  it('opens a tab once, however often the link drops', async () => {
    const guest = new FakeGuest()
    const opened: string[] = []
    const { connection, wire, settle } = world(guest, () => 0, { onOpened: (_tab, name) => opened.push(name) })
    connection.link.connect()
    connection.open('main')
    wire().open()
    wire().deliverUp()
    wire().deliverDown()
    wire().deliverUp()
    wire().deliverUp()
    wire().cut(false)
    await settle()
    expect(guest.terminals.size).toBe(1)
    expect(opened).toEqual(['main'])
    expect(connection.streams.size).toBe(1)
  })

  it('acknowledges redraw and stream apart, and everything in the end', async () => {
    const guest = new FakeGuest()
    const shell = guest.add('main')
    guest.print(shell, Buffer.alloc(100_000, 'a'))
    const { connection, settle, wire } = world(guest, () => 0)
    connection.link.connect()
    connection.watch(shell.id)
    await settle()
    guest.print(shell, Buffer.alloc(100_000, 'b'))
    await settle()
    const acks = wire().server.acks
    expect(acks.filter((a) => a.snapshot).at(-1)!.offset).toBe(100_002)
    expect(acks.filter((a) => !a.snapshot).at(-1)!.offset).toBe(200_000)
    expect(acks.length).toBeLessThan(30)
  })
})
