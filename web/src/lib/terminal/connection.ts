import { Link } from './link'
import type { LinkOptions, LinkState } from './link'
import type { Sink } from './output'
import { Stream } from './stream'
import type { Attached, Bytes, Command, ErrorMessage, Exit, Look, Peer, ServerMessage, Tab, Welcome, You } from './wire'

export interface Size {
  cols: number
  rows: number
}

export interface ConnectionOptions
  extends Pick<LinkOptions, 'dial' | 'explain' | 'client' | 'name' | 'visible' | 'online' | 'random'> {
  size: Size
  /** What is drawn with now. */
  look?(): Look
  /** Makes the screen of a tab that is attached for the first time. */
  sink(tab: string): Sink
  onState(state: LinkState): void
  /** The first sight of the session's tabs on each connection. */
  onWelcome(tabs: Tab[]): void
  onTabs(tabs: Tab[]): void
  /** A stream was attached, ended, or changed hands. */
  onStream(stream: Stream): void
  /** A tab is no more; what was typed and not delivered comes with it. */
  onGone(tab: string): void
  /** Typed, but the shell it was meant for is gone. */
  onLost(tab: string, bytes: Bytes): void
  /** The answer to an `open` of this page, or of a request repeated after a drop. */
  onOpened(tab: string, name: string): void
  /** An `open` of this page was refused. */
  onNotOpened(name: string): void
  onProblem(sentence: string): void
  /** What a program wants the person to know; it may be any text. */
  onNotice?(tab: string, title: string, text: string): void
  /** A program rang, in any tab. */
  onBell?(tab: string): void
  /** A command began or ended, in any tab. */
  onCommand?(command: Command): void
  onStreamBytes?(tab: string, offset: number, bytes: Bytes): void
}

/** How many lines above the screen a page keeps, and asks for when it comes new. */
export const SCROLLBACK = 10_000

/** All tabs of one session on one WebSocket: who is attached where, over any number of connections. */
export class Connection {
  readonly link: Link
  readonly streams = new Map<string, Stream>()
  you: You | null = null
  #tabs: Tab[] = []
  #size: Size
  #req = 0
  #channels = new Map<number, Stream>()
  #lists = new Map<number, (tabs: Tab[] | null) => void>()
  /** Opens asked for and not yet answered: repeated after a drop, by name, so that none happens twice. */
  #opening = new Map<string, number | null>()

  constructor(private readonly options: ConnectionOptions) {
    this.#size = options.size
    const { dial, explain, client, name, visible, online, random } = options
    this.link = new Link({
      dial,
      explain,
      client,
      visible,
      online,
      ...(name ? { name } : {}),
      ...(random ? { random } : {}),
      onState: (state) => options.onState(state),
      onWelcome: (welcome) => this.#welcome(welcome),
      onMessage: (message) => this.#message(message),
      onData: (channel, payload) => this.#channels.get(channel)?.output.data(payload),
      onDown: () => this.#down(),
    })
  }

  /** Attaches a tab, now and after every reconnect. */
  watch(tab: string): Stream {
    const known = this.streams.get(tab)
    if (known) return known
    const stream = this.#make(tab)
    this.#attach(stream)
    return stream
  }

  open(name: string): void {
    this.#opening.set(name, null)
    this.#sendOpen(name)
  }

  /** Asks for a new shell in a tab whose shell ended. */
  restart(tab: string): void {
    const stream = this.watch(tab)
    stream.wantRestart = true
    if (stream.channel === null && stream.asked === null) this.#attach(stream)
  }

  resize(size: Size): void {
    if (size.cols === this.#size.cols && size.rows === this.#size.rows) return
    this.#size = size
    for (const stream of this.#channels.values()) this.#sendSize(stream)
  }

  drive(tab: string): void {
    const channel = this.streams.get(tab)?.channel
    if (channel != null) this.link.send({ type: 'drive', channel, ...this.#look() })
  }

  /** The colours changed: whoever drives says so. */
  relook(): void {
    for (const stream of this.#channels.values()) if (stream.driver) this.drive(stream.tab)
  }

  #look(): Look {
    return this.options.look?.() ?? {}
  }

  rename(tab: string, name: string): boolean {
    return this.link.send({ type: 'rename', tab, name })
  }

  close(tab: string): boolean {
    return this.link.send({ type: 'close', tab })
  }

  #make(tab: string): Stream {
    const seen = this.options.onStreamBytes
    const stream = new Stream(
      tab,
      this.options.sink(tab),
      this.link,
      seen && ((offset, bytes) => seen(tab, offset, bytes)),
    )
    this.streams.set(tab, stream)
    return stream
  }

  /** The tabs as they are now: what runs in them changes without news. Null without an answer. */
  list(): Promise<Tab[] | null> {
    const req = ++this.#req
    if (!this.link.send({ type: 'list', req })) return Promise.resolve(null)
    return new Promise((resolve) => this.#lists.set(req, resolve))
  }

  #attach(stream: Stream): void {
    if (!this.link.open) return
    const req = ++this.#req
    const { epoch, received } = stream.output
    const sent = this.link.send({
      type: 'attach',
      req,
      tab: stream.tab,
      scrollback: SCROLLBACK,
      ...this.#size,
      ...this.#look(),
      ...(epoch === null || stream.wantRedraw ? {} : { epoch, offset: received }),
      ...(stream.wantRestart ? { restart: true } : {}),
    })
    if (!sent) return
    stream.asked = req
    stream.told = this.#size
  }

  #sendOpen(name: string): void {
    if (!this.link.open) return
    const req = ++this.#req
    if (this.link.send({ type: 'open', req, name, ...this.#size, ...this.#look() })) this.#opening.set(name, req)
  }

  #sendSize(stream: Stream): void {
    if (stream.channel === null) return
    this.link.send({ type: 'resize', channel: stream.channel, ...this.#size })
    stream.told = this.#size
  }

  #welcome(welcome: Welcome): void {
    this.you = welcome.you
    this.#takeTabs(welcome.tabs)
    for (const stream of this.streams.values()) this.#attach(stream)
    for (const name of [...this.#opening.keys()]) {
      const made = welcome.tabs.find((tab) => tab.name === name)
      if (made) this.#opened(made.tab, name)
      else this.#sendOpen(name)
    }
    this.options.onWelcome(welcome.tabs)
  }

  #opened(tab: string, name: string): void {
    this.#opening.delete(name)
    this.watch(tab)
    this.options.onOpened(tab, name)
  }

  #down(): void {
    this.#channels.clear()
    for (const answer of this.#lists.values()) answer(null)
    this.#lists.clear()
    for (const stream of this.streams.values()) {
      stream.down()
      this.options.onStream(stream)
    }
    for (const name of this.#opening.keys()) this.#opening.set(name, null)
  }

  #message(message: ServerMessage): void {
    switch (message.type) {
      case 'attached':
        return this.#attached(message)
      case 'tabs':
        this.#takeTabs(message.tabs)
        return this.#listed(message.req, message.tabs)
      case 'detached':
        this.#channels.delete(message.channel)
        return
      case 'size':
        return this.#channels.get(message.channel)?.output.resize(message.cols, message.rows)
      case 'ack':
        return this.#channels.get(message.channel)?.acked(message.offset)
      case 'resync':
        return this.#channels.get(message.channel)?.output.resync(message.offset, message.snapshot_bytes)
      case 'presence':
        return this.#presence(message.tab, message.clients)
      case 'exit':
        return this.#exit(message)
      case 'error':
        return this.#error(message)
      case 'notify':
        if (message.code === 'program') this.options.onNotice?.(message.tab ?? '', message.title ?? '', message.text)
        return
      case 'bell':
        return this.options.onBell?.(message.tab)
      case 'command':
        return this.options.onCommand?.(message)
      // Titles and folders are in `tabs` as well, which comes with every change.
    }
  }

  #attached(m: Attached): void {
    const opened = [...this.#opening].find(([, req]) => req === m.req)
    let stream = this.streams.get(m.tab)
    if (opened) {
      this.#opening.delete(opened[0])
      stream ??= this.#make(m.tab) // its channel came with the answer
    }
    if (!stream) return void this.link.send({ type: 'detach', channel: m.channel })
    const taken = stream.attached(m)
    if (!taken) {
      // Bytes are missing that the server did not promise to skip: a redraw mends it.
      this.link.send({ type: 'detach', channel: m.channel })
      stream.wantRedraw = true
      return this.#attach(stream)
    }
    this.#channels.set(m.channel, stream)
    // The size in the answer to attach is that of the bytes that are missing.
    const told = opened ? m : stream.told
    if (told.cols !== this.#size.cols || told.rows !== this.#size.rows) this.#sendSize(stream)
    if (taken.lost.length > 0) this.options.onLost(m.tab, taken.lost)
    if (opened) this.options.onOpened(m.tab, opened[0])
    this.options.onStream(stream)
  }

  #takeTabs(tabs: Tab[]): void {
    this.#tabs = tabs
    // First the list, so that whoever hears of a tab's end knows its neighbours.
    this.options.onTabs(tabs)
    const present = new Set(tabs.map((tab) => tab.tab))
    for (const stream of [...this.streams.values()]) {
      if (!present.has(stream.tab)) this.#drop(stream)
    }
    // Somebody else started a new shell where this page had seen the old one end.
    for (const tab of tabs) {
      const stream = this.streams.get(tab.tab)
      if (stream?.ended && !tab.exited && stream.channel === null && stream.asked === null) this.#attach(stream)
    }
  }

  #listed(req: unknown, tabs: Tab[]): void {
    if (typeof req !== 'number') return
    this.#lists.get(req)?.(tabs)
    this.#lists.delete(req)
  }

  #drop(stream: Stream): void {
    stream.down()
    this.streams.delete(stream.tab)
    for (const [channel, owner] of this.#channels) if (owner === stream) this.#channels.delete(channel)
    if (!stream.ended && stream.input.pending > 0) {
      this.options.onLost(stream.tab, stream.input.abandon(0))
    }
    this.options.onGone(stream.tab)
  }

  #presence(tab: string, clients: Peer[]): void {
    const stream = this.streams.get(tab)
    if (!stream) return
    stream.driver = clients.some((peer) => peer.client === this.you?.client && peer.driver)
    this.options.onStream(stream)
  }

  #exit(m: Exit): void {
    const stream = this.streams.get(m.tab)
    if (!stream) return
    if (stream.channel !== null) this.#channels.delete(stream.channel)
    stream.channel = null
    stream.driver = false
    stream.ended = { code: m.code, ...(m.signal ? { signal: m.signal } : {}) }
    this.options.onStream(stream)
  }

  #error(m: ErrorMessage): void {
    const opening = [...this.#opening].find(([, req]) => req !== null && req === m.req)
    if (opening) {
      const [name] = opening
      this.#opening.delete(name)
      // Another page made the tab of that name first: that is the tab wanted.
      const made = this.#tabs.find((tab) => tab.name === name)
      if (made) return this.#opened(made.tab, name)
      this.options.onNotOpened(name)
    }
    const stream = [...this.streams.values()].find((s) => s.asked !== null && s.asked === m.req)
    if (stream) {
      stream.asked = null
      stream.wantRestart = false
    }
    this.options.onProblem(m.message)
  }
}
