import { Problem } from '$lib/api/client'
import { texts } from './lines'
import { EventParser } from './sse'
import type { Change } from './types'

/** How the watch is: live, on its way, or not to be had (and why). */
export type WatchState = 'connecting' | 'live' | 'waiting' | 'missing'

export interface WatchOptions {
  open(signal: AbortSignal): Promise<Response>
  /** From here on nothing is missed: list again. */
  onFresh(): void
  onChanges(changes: Change[]): void
  onState(state: WatchState): void
  /** Tests choose; 0 to 1. */
  random?(): number
}

/** Longer than the server's 20 s between signs of life. */
const SILENCE_MS = 50_000
const FIRST_MS = 500
const MOST_MS = 15_000

/** Follows a stream of changes, and comes back after each end of it, for as long as it is wanted. */
export class Watch {
  #abort = new AbortController()
  #stopped = false
  #failures = 0
  #wake: (() => void) | null = null
  #deadline: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly options: WatchOptions) {
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#deadline)
    this.#abort.abort()
    this.#wake?.()
  }

  /** Now rather than after the wait. */
  nudge(): void {
    this.#wake?.()
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.options.onState('connecting')
      let missing = false
      try {
        await this.#once()
      } catch (error) {
        missing = error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429
      }
      clearTimeout(this.#deadline)
      if (this.#stopped) return
      this.options.onState(missing ? 'missing' : 'waiting')
      await this.#pause(missing ? MOST_MS : this.#delay())
    }
  }

  async #once(): Promise<void> {
    this.#abort = new AbortController()
    this.#alive()
    const response = await this.options.open(this.#abort.signal)
    if (!response.body) return
    const parser = new EventParser()
    for await (const text of texts(response.body)) {
      if (this.#stopped) return
      this.#alive()
      for (const event of parser.take(text)) this.#take(event.event, event.data)
    }
  }

  #take(event: string, data: string): void {
    if (event === 'ready') {
      this.#failures = 0
      this.options.onState('live')
      this.options.onFresh()
    } else if (event === 'overflow') this.options.onFresh()
    else if (event === 'changes') this.options.onChanges((JSON.parse(data) as { events: Change[] }).events)
  }

  /** A stream that says nothing, not even that it lives, is dead. */
  #alive(): void {
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => this.#abort.abort(), SILENCE_MS)
  }

  #delay(): number {
    const full = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(this.#failures++, 10))
    return full * (0.5 + (this.options.random ?? Math.random)() / 2)
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
