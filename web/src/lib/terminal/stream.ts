import { InputQueue } from './input'
import { Output } from './output'
import type { Sink } from './output'
import type { Report } from './reports'
import type { Attached, Bytes, ClientMessage } from './wire'
import { frame } from './wire'

export interface Ended {
  code: number
  signal?: string
}

/** What a stream needs of its connection. */
export interface Wire {
  send(message: ClientMessage): boolean
  sendBytes(message: Bytes): boolean
}

/** The longest a drawn byte waits for its acknowledgement. */
const ACK_MS = 16

/** One tab's two byte streams, which outlive the connections that carry them. */
export class Stream {
  channel: number | null = null
  /** The request that will give this stream its channel. */
  asked: number | null = null
  /** The size that was told last, with that request or after. */
  told = { cols: 0, rows: 0 }
  wantRestart = false
  /** The stream cannot be continued: the next attach asks for a snapshot. */
  wantRedraw = false
  ended: Ended | null = null
  driver = false
  readonly output: Output
  readonly input = new InputQueue()
  #ackTimer: ReturnType<typeof setTimeout> | undefined

  constructor(
    readonly tab: string,
    sink: Sink,
    private readonly wire: Wire,
    onStream?: (offset: number, bytes: Bytes) => void,
  ) {
    this.output = new Output(sink, () => this.#drawn(), onStream)
  }

  /** Takes up the streams on a channel. Null: the server's offset leaves a gap, attach anew without one. */
  attached(m: Attached): { lost: Bytes } | null {
    const first = this.output.epoch === null
    const sameLife = this.output.epoch === m.epoch
    if (!this.output.attached(m)) return null
    this.asked = null
    this.channel = m.channel
    this.wantRedraw = false
    this.driver = false
    if (!sameLife) {
      this.ended = null
      this.wantRestart = false
    }
    let lost: Bytes = new Uint8Array(0)
    if (first) this.input.rebase(m.input_offset)
    else if (!sameLife || !this.input.resume(m.input_offset)) lost = this.input.abandon(m.input_offset)
    this.pump()
    return { lost }
  }

  /** The connection went away; both streams stay where they are. */
  down(): void {
    this.channel = this.asked = null
    this.wantRedraw ||= this.output.halfDrawn
    clearTimeout(this.#ackTimer)
    this.#ackTimer = undefined
  }

  type(bytes: Bytes): void {
    this.input.push(bytes)
    this.pump()
  }

  /** Sends what xterm says by itself at once or not at all: later another program may run, on another screen. */
  report(bytes: Bytes, kind: Report): void {
    if (this.channel === null) return
    // Who types drives, to the server. Nobody takes the drive by looking on.
    if (kind === 'press' || this.driver) this.type(bytes)
  }

  acked(offset: number): void {
    this.input.ack(offset)
    this.pump()
  }

  /** Sends what waits, as far as the window goes. */
  pump(): void {
    if (this.channel === null) return
    for (let bytes = this.input.take(); bytes; bytes = this.input.take()) {
      this.wire.sendBytes(frame(this.channel, bytes))
    }
  }

  #drawn(): void {
    this.#acknowledge(false)
    this.#ackTimer ??= setTimeout(() => {
      this.#ackTimer = undefined
      this.#acknowledge(true)
    }, ACK_MS)
  }

  #acknowledge(force: boolean): void {
    if (this.channel === null) return
    for (let ack = this.output.takeAck(force); ack; ack = this.output.takeAck(force)) {
      const snapshot = ack.snapshot ? { snapshot: true } : {}
      this.wire.send({ type: 'ack', channel: this.channel, offset: ack.offset, ...snapshot })
    }
  }
}
