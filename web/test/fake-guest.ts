// The server's half of mux v1, as small as resuming needs: tabs with a bounded
// log, input counters per client, one connection per client, the exit of a shell.

import { CONTROL, frame, split } from '../src/lib/terminal/wire'
import type { Bytes, ClientMessage, Tab } from '../src/lib/terminal/wire'

export interface Peer {
  send(message: Bytes): void
  close(code: number, reason: string): void
}

const text = (s: string) => new TextEncoder().encode(s)
const RIS = '\x1bc'

export class FakeTerminal {
  history: number[] = []
  counters = new Map<string, number>()
  typed: number[] = []
  epoch: string
  exited: { code: number } | null = null
  lives = 1

  constructor(
    readonly id: string,
    public name: string,
    /** How many of the newest bytes can be resumed from. */
    readonly held: number,
  ) {
    this.epoch = `${id}-1`
  }

  restart(): void {
    this.epoch = `${this.id}-${++this.lives}`
    this.history = []
    this.counters.clear()
    this.exited = null
  }

  get tail(): number {
    return Math.max(0, this.history.length - this.held)
  }

  bytes(from: number, to: number): Bytes {
    return Uint8Array.from(this.history.slice(from, to))
  }
}

interface Channel {
  terminal: FakeTerminal
  next: number
}

export class FakeConnection {
  client = ''
  channels = new Map<number, Channel>()
  acks: Array<Extract<ClientMessage, { type: 'ack' }>> = []
  dead = false

  constructor(
    private readonly guest: FakeGuest,
    readonly peer: Peer,
  ) {}

  say(message: object): void {
    this.peer.send(frame(CONTROL, text(JSON.stringify(message))))
  }

  receive(message: Bytes): void {
    if (this.dead) return
    const { channel, payload } = split(message)
    if (channel !== CONTROL) return this.#input(channel, payload)
    this.#control(JSON.parse(new TextDecoder().decode(payload)) as ClientMessage)
  }

  /** Sends what the channel has not been sent, in frames of the given size. */
  flush(most = 700): void {
    for (const [number, channel] of this.channels) {
      while (channel.next < channel.terminal.history.length) {
        const to = Math.min(channel.next + most, channel.terminal.history.length)
        this.peer.send(frame(number, channel.terminal.bytes(channel.next, to)))
        channel.next = to
      }
    }
  }

  #input(number: number, payload: Bytes): void {
    const terminal = this.channels.get(number)?.terminal
    if (!terminal || terminal.exited) return
    terminal.typed.push(...payload)
    const counted = (terminal.counters.get(this.client) ?? 0) + payload.length
    terminal.counters.set(this.client, counted)
    this.say({ type: 'ack', channel: number, offset: counted })
    this.guest.onInput?.(terminal, payload)
  }

  #control(m: ClientMessage): void {
    if (m.type === 'hello') {
      this.client = m.client
      this.guest.fence(this)
      this.say({
        type: 'welcome',
        protocol: 1,
        session: 'sessionsessi',
        you: { client: 'p1', user: 'ada', name: 'ada', role: 'owner' },
        window: 1 << 20,
        ping_s: 20,
        tabs: this.guest.tabs(),
      })
    } else if (m.type === 'ping') this.say({ type: 'pong', t: m.t })
    else if (m.type === 'ack') this.acks.push(m)
    else if (m.type === 'detach') {
      this.channels.delete(m.channel)
      this.say({ type: 'detached', channel: m.channel })
    } else if (m.type === 'open') {
      if (this.guest.byName(m.name ?? '')) return this.say({ type: 'error', req: m.req, code: 'conflict', message: 'That name is taken.' })
      this.guest.add(m.name ?? 'sh')
      this.#attach({ ...m, type: 'attach', tab: m.name ?? 'sh' })
    } else if (m.type === 'attach') this.#attach(m)
  }

  #attach(m: Extract<ClientMessage, { type: 'attach' }>): void {
    const t = this.guest.terminals.get(m.tab) ?? this.guest.byName(m.tab)
    if (!t) return this.say({ type: 'error', req: m.req, code: 'not_found', message: 'No such tab.' })
    if (m.restart && t.exited) t.restart()
    let number = 0
    while (this.channels.has(number)) number++
    const fresh = m.restart === true && t.history.length === 0
    const resume = fresh || (m.epoch === t.epoch && m.offset !== undefined && m.offset >= t.tail)
    const offset = fresh ? 0 : resume ? m.offset! : t.history.length
    const snapshot = resume ? new Uint8Array(0) : Uint8Array.from([...text(RIS), ...t.bytes(t.tail, offset)])
    this.say({
      type: 'attached',
      req: m.req,
      tab: t.id,
      channel: number,
      epoch: t.epoch,
      offset,
      mode: resume ? 'resume' : 'snapshot',
      snapshot_bytes: snapshot.length,
      cols: m.cols,
      rows: m.rows,
      input_offset: t.counters.get(this.client) ?? 0,
      head: t.history.length,
    })
    for (let at = 0; at < snapshot.length; at += 500) this.peer.send(frame(number, snapshot.subarray(at, at + 500)))
    if (t.exited) this.say({ type: 'exit', tab: t.id, channel: number, code: t.exited.code, offset })
    else this.channels.set(number, { terminal: t, next: offset })
    this.say({ type: 'presence', tab: t.id, clients: [{ client: 'p1', driver: true }] })
  }
}

export class FakeGuest {
  terminals = new Map<string, FakeTerminal>()
  connections = new Set<FakeConnection>()
  onInput?: (terminal: FakeTerminal, bytes: Bytes) => void

  constructor(readonly held = Infinity) {}

  add(name: string): FakeTerminal {
    const id = `tab${this.terminals.size}`.padEnd(12, 'x')
    const terminal = new FakeTerminal(id, name, this.held)
    this.terminals.set(id, terminal)
    return terminal
  }

  byName(name: string): FakeTerminal | undefined {
    return [...this.terminals.values()].find((t) => t.name === name)
  }

  accept(peer: Peer): FakeConnection {
    const connection = new FakeConnection(this, peer)
    this.connections.add(connection)
    return connection
  }

  /** A client's older connection gives way before its counters are read. */
  fence(keeper: FakeConnection): void {
    for (const other of this.connections) {
      if (other === keeper || other.client !== keeper.client) continue
      this.leave(other)
      other.peer.close(4409, '')
    }
  }

  leave(connection: FakeConnection): void {
    connection.dead = true
    this.connections.delete(connection)
  }

  print(terminal: FakeTerminal, bytes: Iterable<number>): void {
    terminal.history.push(...bytes)
  }

  exit(terminal: FakeTerminal, code: number): void {
    terminal.exited = { code }
    for (const c of this.connections) {
      c.flush()
      for (const [number, channel] of c.channels) {
        if (channel.terminal !== terminal) continue
        c.channels.delete(number)
        c.say({ type: 'exit', tab: terminal.id, channel: number, code, offset: terminal.history.length })
      }
      c.say({ type: 'tabs', tabs: this.tabs() })
    }
  }

  tabs(): Tab[] {
    return [...this.terminals.values()].map((t) => ({
      tab: t.id,
      name: t.name,
      title: '',
      cwd: '/',
      process: 'sh',
      cols: 80,
      rows: 24,
      clients: 1,
      exited: t.exited !== null,
      exit_code: t.exited?.code ?? 0,
      created_at: '2026-01-01T00:00:00Z',
      active_at: '2026-01-01T00:00:00Z',
    }))
  }
}
