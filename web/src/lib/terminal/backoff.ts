/** How long to wait before trying again: 0.25 s · 2ⁿ, at most 15 s, with full jitter. */
export class Backoff {
  #tries = 0

  constructor(private readonly random: () => number = Math.random) {}

  /** Milliseconds until the next attempt; each call counts as one more failure. */
  next(): number {
    const ceiling = Math.min(15_000, 250 * 2 ** this.#tries)
    this.#tries = Math.min(this.#tries + 1, 16)
    return Math.round(this.random() * ceiling)
  }

  /** Starts over, or further along for a server that asked to be left alone. */
  reset(tries = 0): void {
    this.#tries = tries
  }
}
