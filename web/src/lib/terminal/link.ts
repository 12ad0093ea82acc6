import { Backoff } from './backoff'
import { CONTROL, control, parseServer, ProtocolError, split } from './wire'
import type { Bytes, ClientMessage, ServerMessage, Welcome } from './wire'
import { closeVerdict } from './verdict'
import type { Verdict } from './verdict'

/** The part of a WebSocket that the link uses, so that tests can cut it where they like. */
export interface Socket {
  onopen: ((event: Event) => void) | null
  onmessage: ((event: MessageEvent<unknown>) => void) | null
  onclose: ((event: CloseEvent) => void) | null
  send(message: Bytes): void
  close(code?: number, reason?: string): void
}

export type LinkState =
  | { kind: 'connecting'; again: boolean }
  | { kind: 'open'; latency: number | null }
  | { kind: 'waiting'; until: number; why: string }
  | { kind: 'paused' }
  | { kind: 'offline' }
  | Exclude<Verdict, { kind: 'retry' }>
  | { kind: 'closed' }

export interface LinkOptions {
  dial(): Socket
  /** Asks over HTTP why a socket would not open: a script only ever sees 1006. */
  explain(): Promise<Verdict>
  client: string
  name?: string
  visible(): boolean
  online(): boolean
  random?: () => number
  onState(state: LinkState): void
  onWelcome(welcome: Welcome): void
  onMessage(message: ServerMessage): void
  onData(channel: number, payload: Bytes): void
  onDown(): void
}

/** A socket that has not said welcome after this long is given up. */
export const CONNECT_MS = 10_000
/** How long a socket may take to answer when there is reason to doubt it. */
export const PROBE_MS = 5_000
/** A connection that lived this long starts the next backoff from the beginning. */
const STABLE_MS = 5_000
const MISSES = 3
const FIRST_PING_MS = 1_000

/** One WebSocket after another: dials, says hello, notices death, waits, tries again. */
export class Link {
  state: LinkState = { kind: 'closed' }
  #socket: Socket | null = null
  #opened = false
  #welcomedAt = 0
  #backoff: Backoff
  #timers = new Map<'retry' | 'connect' | 'ping' | 'probe', ReturnType<typeof setTimeout>>()
  #unanswered = 0
  #pingMs = 20_000
  // Counts attempts, so that a late answer to an older one changes nothing.
  #attempt = 0

  constructor(private readonly options: LinkOptions) {
    this.#backoff = new Backoff(options.random)
  }

  get open(): boolean {
    return this.state.kind === 'open'
  }

  /** Connects now: at first, or because a person asked. */
  connect(): void {
    if (this.#socket) return
    this.#clear('retry')
    this.#dial(this.#attempt > 0)
  }

  /** Comes back after a refusal that turned out not to hold, as after any drop: not at once, and not while hidden. */
  resume(why: string): void {
    if (!this.#socket) this.#settle({ kind: 'retry', why, pace: 'normal' })
  }

  /** Leaves for good: code 1000 tells the server not to keep anything for a return. */
  stop(): void {
    this.#hangUp(1000)
    this.#setState({ kind: 'closed' })
  }

  /** The page was shown, focused, or came online: try now, or make sure that the socket lives. */
  nudge(): void {
    if (this.state.kind === 'open') this.#probe()
    else if (['waiting', 'paused', 'offline'].includes(this.state.kind) && this.options.visible()) {
      this.#backoff.reset()
      this.connect()
    }
  }

  send(message: ClientMessage): boolean {
    return this.sendBytes(control(message))
  }

  sendBytes(message: Bytes): boolean {
    if (!this.open || !this.#socket) return false
    this.#socket.send(message)
    return true
  }

  #dial(again: boolean): void {
    const attempt = ++this.#attempt
    const socket = this.options.dial()
    this.#socket = socket
    this.#opened = false
    this.#welcomedAt = 0
    this.#setState({ kind: 'connecting', again })
    this.#timer('connect', CONNECT_MS, () => this.#down({ code: 1006, reason: '' }))
    socket.onopen = () => {
      this.#opened = true
      const { client, name } = this.options
      socket.send(control({ type: 'hello', client, ...(name ? { name } : {}) }))
    }
    socket.onmessage = (event) => {
      if (attempt === this.#attempt) this.#receive(event.data)
    }
    socket.onclose = (event) => {
      if (attempt === this.#attempt && this.#socket === socket) this.#down(event)
    }
  }

  #receive(data: unknown): void {
    try {
      if (!(data instanceof ArrayBuffer)) throw new ProtocolError('text message')
      const { channel, payload } = split(new Uint8Array(data))
      if (channel !== CONTROL) return this.options.onData(channel, payload)
      const message = parseServer(payload)
      if (message) this.#control(message)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#hangUp(1000)
      this.#settle(closeVerdict(4400, error.message))
    }
  }

  #control(message: ServerMessage): void {
    if (message.type === 'welcome') {
      this.#clear('connect')
      this.#welcomedAt = Date.now()
      this.#pingMs = Math.max(1, message.ping_s) * 1000
      this.#setState({ kind: 'open', latency: null })
      this.options.onWelcome(message)
      this.#unanswered = 0
      // Not at once: a page that is just loading would measure itself.
      this.#timer('ping', FIRST_PING_MS, () => this.#ping())
    } else if (message.type === 'pong') {
      this.#unanswered = 0
      this.#clear('probe')
      if (typeof message.t === 'number') {
        this.#setState({ kind: 'open', latency: Math.max(0, performance.now() - message.t) })
      }
    } else {
      this.options.onMessage(message)
    }
  }

  #ping(): void {
    if (this.#unanswered >= MISSES) return this.#down({ code: 1006, reason: '' })
    this.#unanswered++
    this.send({ type: 'ping', t: performance.now() })
    this.#timer('ping', this.#pingMs, () => this.#ping())
  }

  #probe(): void {
    if (this.#timers.has('probe')) return
    this.send({ type: 'ping', t: performance.now() })
    this.#timer('probe', PROBE_MS, () => this.#down({ code: 1006, reason: '' }))
  }

  #down({ code, reason }: { code: number; reason: string }): void {
    const failedToOpen = !this.#opened || !this.#welcomedAt
    if (this.#welcomedAt && Date.now() - this.#welcomedAt > STABLE_MS) this.#backoff.reset()
    this.#hangUp()
    if (failedToOpen && code === 1006) {
      const attempt = this.#attempt
      void this.options.explain().then((verdict) => {
        if (attempt === this.#attempt && !this.#socket) this.#settle(verdict)
      })
    } else {
      this.#settle(closeVerdict(code, reason))
    }
  }

  #settle(verdict: Verdict): void {
    if (verdict.kind !== 'retry') return this.#setState(verdict)
    if (!this.options.visible()) return this.#setState({ kind: 'paused' })
    if (!this.options.online()) return this.#setState({ kind: 'offline' })
    if (verdict.pace === 'slow') this.#backoff.reset(5)
    const fresh = verdict.pace === 'at-once' && this.#welcomedAt > 0
    const wait = fresh ? 0 : this.#backoff.next()
    this.#welcomedAt = 0
    this.#setState({ kind: 'waiting', until: Date.now() + wait, why: verdict.why })
    this.#timer('retry', wait, () => {
      if (this.options.visible()) this.#dial(true)
      else this.#setState({ kind: 'paused' })
    })
  }

  /** Lets go of the socket without waiting for it: a dead network never closes one. */
  #hangUp(code?: number): void {
    for (const name of [...this.#timers.keys()]) this.#clear(name)
    const socket = this.#socket
    this.#socket = null
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(code)
    this.options.onDown()
  }

  #setState(state: LinkState): void {
    this.state = state
    this.options.onState(state)
  }

  #timer(name: 'retry' | 'connect' | 'ping' | 'probe', ms: number, run: () => void): void {
    this.#clear(name)
    this.#timers.set(
      name,
      setTimeout(() => {
        this.#timers.delete(name)
        run()
      }, ms),
    )
  }

  #clear(name: 'retry' | 'connect' | 'ping' | 'probe'): void {
    clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}
