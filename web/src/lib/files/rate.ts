// How fast bytes go, and how long the rest takes, from what was counted in the last seconds.

const WINDOW_MS = 8000

/** A meter that is told how many bytes have gone in all, from time to time. */
export class Rate {
  #samples: Array<{ at: number; bytes: number }> = []

  /** Bytes counted in all, at a time in ms. A count that goes back, as after a resume, begins anew. */
  take(at: number, bytes: number): void {
    const last = this.#samples.at(-1)
    if (last && bytes < last.bytes) this.#samples = []
    this.#samples.push({ at, bytes })
    // The one before the window stays: it is where the window begins.
    while (this.#samples.length > 2 && this.#samples[1]!.at <= at - WINDOW_MS) this.#samples.shift()
  }

  /** After a pause nothing of before counts. */
  reset(): void {
    this.#samples = []
  }

  /** Bytes per second; 0: not known, or still. */
  perSecond(now: number): number {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (!first || !last || now - first.at < 250) return 0
    return Math.max(0, ((last.bytes - first.bytes) * 1000) / (now - first.at))
  }
}

/** The rest in words; empty: nobody knows. */
export function restWords(left: number, perSecond: number): string {
  if (left <= 0 || perSecond < 1) return ''
  const s = Math.ceil(left / perSecond)
  if (s < 60) return `${s} s left`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s left`
  return s < 360_000 ? `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min left` : 'days left'
}
