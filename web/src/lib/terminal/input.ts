import type { Bytes } from './wire'

/** The most input in one frame, and the most that may be on its way unacknowledged. */
export const INPUT_FRAME = 64 * 1024
export const INPUT_WINDOW = 256 * 1024

/**
 * What a person typed into one tab, as a byte stream with an address for each
 * byte. Everything unacknowledged is kept, so that after a dropped link exactly
 * the bytes that did not arrive are sent again.
 */
export class InputQueue {
  #chunks: Bytes[] = []
  #acked = 0
  #sent = 0
  #end = 0

  get acked(): number {
    return this.#acked
  }

  /** How many bytes wait for an acknowledgement, sent or not. */
  get pending(): number {
    return this.#end - this.#acked
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#chunks.push(new Uint8Array(bytes))
    this.#end += bytes.length
  }

  /** The next frame's worth to send, or null when the window is full or nothing waits. */
  take(): Bytes | null {
    const room = this.#acked + INPUT_WINDOW - this.#sent
    const size = Math.min(INPUT_FRAME, room, this.#end - this.#sent)
    if (size <= 0) return null
    const out = this.#copy(this.#sent, size)
    this.#sent += size
    return out
  }

  ack(offset: number): void {
    if (offset <= this.#acked) return
    this.#drop(Math.min(offset, this.#end))
    this.#sent = Math.max(this.#sent, this.#acked)
  }

  /**
   * Continues with a shell that has read up to offset. False means that the
   * server no longer knows this counter, so that nothing can be sent again safely.
   */
  resume(offset: number): boolean {
    if (offset < this.#acked || offset > this.#end) return false
    this.#drop(offset)
    this.#sent = offset
    return true
  }

  /** Counts from offset on; what waits keeps waiting. For input typed before the tab was ever reached. */
  rebase(offset: number): void {
    this.#end = offset + this.pending
    this.#acked = this.#sent = offset
  }

  /** Gives up what waits and counts from offset on. Returns what was given up. */
  abandon(offset: number): Bytes {
    const lost = this.#copy(this.#acked, this.pending)
    this.#chunks = []
    this.#acked = this.#sent = this.#end = offset
    return lost
  }

  #drop(to: number): void {
    let drop = to - this.#acked
    while (drop > 0 && this.#chunks[0]) {
      const first = this.#chunks[0]
      if (first.length > drop) {
        this.#chunks[0] = first.subarray(drop)
        break
      }
      drop -= first.length
      this.#chunks.shift()
    }
    this.#acked = to
  }

  #copy(from: number, size: number): Bytes {
    const out = new Uint8Array(size)
    let at = this.#acked
    let filled = 0
    for (const chunk of this.#chunks) {
      const start = Math.max(0, from + filled - at)
      if (start < chunk.length && filled < size) {
        const part = chunk.subarray(start, start + size - filled)
        out.set(part, filled)
        filled += part.length
      }
      at += chunk.length
      if (filled === size) break
    }
    return out
  }
}
