import { sentenceOf } from '$lib/api/client'
import type { Found, Match, Searched, SearchQuery } from './types'

/** One search at a time; a new one ends the one before. */
export class Search {
  matches = $state.raw<Match[]>([])
  done = $state.raw<Searched | null>(null)
  problem = $state('')
  running = $state(false)
  #abort: AbortController | null = null

  constructor(private readonly source: (what: SearchQuery, signal: AbortSignal) => AsyncIterable<Found>) {}

  async run(what: SearchQuery): Promise<void> {
    this.stop()
    const abort = new AbortController()
    this.#abort = abort
    this.matches = []
    this.done = null
    this.problem = ''
    this.running = true
    // Drawn a hundred times a second they would be slower than found.
    let waiting: Match[] = []
    const show = () => {
      if (waiting.length > 0) this.matches = [...this.matches, ...waiting]
      waiting = []
    }
    let shownAt = 0
    try {
      for await (const { match, done, failure } of this.source(what, abort.signal)) {
        if (abort.signal.aborted) return
        if (match) waiting.push(match)
        if (done) this.done = done
        if (failure) this.problem = failure.sentence
        if (performance.now() - shownAt > 100) {
          show()
          shownAt = performance.now()
        }
      }
      if (!this.done && !this.problem) this.problem = 'The search ended early: the connection was lost. Search again.'
    } catch (error) {
      if (!abort.signal.aborted) this.problem = sentenceOf(error)
    } finally {
      if (this.#abort === abort) {
        show()
        this.running = false
      }
    }
  }

  /** What was found so far stays. */
  stop(): void {
    this.#abort?.abort()
    this.#abort = null
    this.running = false
  }
}

/** How a search ended, in words. */
export function endWords(done: Searched): string {
  const found = done.matches === 1 ? '1 match' : `${done.matches.toLocaleString('en')} matches`
  const cut = { matches: ', and there are more', time: ', then the time was up', entries: ', then there were too many files' }
  return found + (done.cut ? cut[done.cut] : '')
}
