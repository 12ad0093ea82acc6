import type { Attached, Bytes } from './wire'

/** Where output goes: the emulator, or a test. Calls take effect in the order they are made. */
export interface Sink {
  /**
   * Draws bytes, then calls done. The past (a snapshot, or what was printed
   * before attaching) must be drawn without answering the questions in it.
   */
  write(bytes: Bytes, past: boolean, done: () => void): void
  /** All of the past has been written: what comes next, of output or of the person, is new. */
  present(): void
  /** Forgets the screen: another shell begins. */
  reset(): void
  /** A redraw comes: it brings all that the screen shows and is. */
  redraw(): void
  resize(cols: number, rows: number): void
}

/** What has been drawn, for an ack message. */
export interface Drawn {
  offset: number
  snapshot: boolean
}

/** How many drawn bytes are acknowledged at once when there is more to draw. */
export const ACK_EVERY = 32 * 1024

/**
 * The receiving half of a tab: counts the stream, tells a redraw from the
 * stream, and knows what has been drawn but not yet acknowledged.
 */
export class Output {
  epoch: string | null = null
  /** The next output byte wanted. */
  received = 0
  #rendered = 0
  #acked = 0
  #head = 0
  #skip = 0
  #redraw: { left: number; drawn: number; acked: number } | null = null
  // A callback of bytes written before the stream jumped must not count after it.
  #life = 0

  constructor(
    private readonly sink: Sink,
    private readonly onDrawn: () => void,
    /** Sees every counted byte with its address, before it is drawn. */
    private readonly onStream?: (offset: number, bytes: Bytes) => void,
  ) {}

  /** Takes up the stream where the server says. False: it would leave a gap, ask for a snapshot. */
  attached(m: Attached): boolean {
    const sameLife = this.epoch === m.epoch
    this.#skip = 0
    if (m.mode === 'resume' && sameLife) {
      if (m.offset > this.received) return false
      // The server may begin earlier than asked; those bytes were drawn already.
      this.#skip = this.received - m.offset
    } else {
      this.#jump(m.offset)
      if (m.mode === 'resume') this.sink.reset()
    }
    this.epoch = m.epoch
    this.#acked = m.offset
    this.#head = m.head
    this.#begin(m.mode === 'snapshot' ? m.snapshot_bytes : 0)
    this.sink.resize(m.cols, m.rows)
    this.#endPast()
    if (this.#rendered > this.#acked) this.onDrawn()
    return true
  }

  /** A redraw began and has not arrived in full: the stream after it would not stand on anything. */
  get halfDrawn(): boolean {
    return (this.#redraw?.left ?? 0) > 0
  }

  resync(offset: number, snapshotBytes: number): void {
    this.#jump(offset)
    this.#acked = offset
    this.#begin(snapshotBytes)
    this.#endPast()
  }

  resize(cols: number, rows: number): void {
    this.sink.resize(cols, rows)
  }

  data(bytes: Bytes): void {
    let rest = this.#drawSnapshot(bytes)
    const skipped = Math.min(this.#skip, rest.length)
    this.#skip -= skipped
    rest = rest.subarray(skipped)
    const past = Math.max(0, Math.min(rest.length, this.#head - this.received))
    this.#drawStream(rest.subarray(0, past), true)
    this.#drawStream(rest.subarray(past), false)
    this.#endPast()
  }

  /** The next thing to acknowledge, or null when there is none. Without force, only a coalesced amount. */
  takeAck(force: boolean): Drawn | null {
    const redraw = this.#redraw
    if (redraw && redraw.drawn > redraw.acked) {
      if (!force && redraw.drawn - redraw.acked < ACK_EVERY) return null
      redraw.acked = redraw.drawn
      return { offset: redraw.drawn, snapshot: true }
    }
    const drawn = this.#rendered - this.#acked
    if (drawn <= 0 || (!force && drawn < ACK_EVERY)) return null
    this.#acked = this.#rendered
    return { offset: this.#rendered, snapshot: false }
  }

  #begin(snapshotBytes: number): void {
    this.#redraw = snapshotBytes > 0 ? { left: snapshotBytes, drawn: 0, acked: 0 } : null
    if (this.#redraw) this.sink.redraw()
  }

  /** The past ends where it was written, and not with the next byte: a program may be silent for hours. */
  #endPast(): void {
    if (!this.halfDrawn && this.received >= this.#head) this.sink.present()
  }

  #jump(offset: number): void {
    this.#life++
    this.received = this.#rendered = offset
  }

  #drawSnapshot(bytes: Bytes): Bytes {
    const redraw = this.#redraw
    if (!redraw || redraw.left === 0) return bytes
    const part = bytes.subarray(0, redraw.left)
    redraw.left -= part.length
    this.sink.write(part, true, () => {
      redraw.drawn += part.length
      if (redraw === this.#redraw) this.onDrawn()
    })
    return bytes.subarray(part.length)
  }

  #drawStream(bytes: Bytes, past: boolean): void {
    if (bytes.length === 0) return
    this.onStream?.(this.received, bytes)
    this.received += bytes.length
    const to = this.received
    const life = this.#life
    this.sink.write(bytes, past, () => {
      if (life !== this.#life) return
      this.#rendered = to
      this.onDrawn()
    })
  }
}
