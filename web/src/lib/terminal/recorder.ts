import type { Bytes } from './wire'

const SWITCH = 'staitheDebug'

/** Recording costs memory without bound: it is for tests, switched on by localStorage.staitheDebug = 1. */
export function recordingWanted(): boolean {
  try {
    return localStorage.getItem(SWITCH) === '1'
  } catch {
    return false // storage is forbidden here; then so is the switch
  }
}

/** Keeps the counted output bytes of one tab, from the last place where the stream began or jumped. */
export class Recorder {
  from = 0
  #chunks: Bytes[] = []
  #length = 0

  take(offset: number, bytes: Bytes): void {
    if (offset !== this.from + this.#length) {
      this.from = offset
      this.#chunks = []
      this.#length = 0
    }
    this.#chunks.push(bytes.slice())
    this.#length += bytes.length
  }

  get offset(): number {
    return this.from + this.#length
  }

  bytes(): Bytes {
    const all = new Uint8Array(this.#length)
    let at = 0
    for (const chunk of this.#chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    return all
  }

  async sha256(): Promise<string> {
    const digest = await crypto.subtle.digest('SHA-256', this.bytes())
    return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, '0')).join('')
  }
}
