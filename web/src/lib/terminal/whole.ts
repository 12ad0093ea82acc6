import type { Bytes } from './wire'

/**
 * Passes bytes on in pieces that end between characters. xterm.js 6.0 loses one
 * that is cut after a byte whose lower six bits are zero, such as a dash (E2 80 |
 * 94), and takes the next character with it.
 */
export class WholeCharacters {
  #tail: Bytes = new Uint8Array()

  /** What can be drawn now: the rest of the last piece, and all of this one but an unfinished character. */
  take(bytes: Bytes): Bytes {
    let all = bytes
    if (this.#tail.length > 0) {
      all = new Uint8Array(this.#tail.length + bytes.length)
      all.set(this.#tail)
      all.set(bytes, this.#tail.length)
    }
    const cut = all.length - unfinished(all)
    this.#tail = all.slice(cut)
    return all.subarray(0, cut)
  }
}

/** How many bytes at the end begin a character that is not whole. */
function unfinished(bytes: Bytes): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const byte = bytes[bytes.length - n]!
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > n ? n : 0
  }
  return 0
}
