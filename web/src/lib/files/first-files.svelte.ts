import type { HomeTemplate } from './types'
import { firstFilesWords } from './words'
import type { FirstFilesWords } from './words'

const KEY = 'staithe.first-files'
const LOOK_MS = 2000
const LOOK_MOST_MS = 60_000

/** What became of the files that the home begins with: asked once, and again while they are on their way. */
export class FirstFiles {
  template = $state.raw<HomeTemplate | null>(null)
  /** The failure that was seen, by its time. */
  #seen = $state('')
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Counts the starts and stops: an answer to a question of before is too late. */
  #turn = 0

  constructor(
    private readonly user: string,
    private readonly ask: () => Promise<HomeTemplate>,
  ) {
    try {
      this.#seen = localStorage.getItem(`${KEY}.${user}`) ?? ''
    } catch {
      // Without storage the failure is told once a page.
    }
  }

  /** What there is to say; null: nothing. */
  get words(): FirstFilesWords | null {
    if (!this.template || (this.#seen !== '' && this.template.at === this.#seen)) return null
    return firstFilesWords(this.template)
  }

  start(): void {
    this.stop()
    void this.#look(this.#turn)
  }

  stop(): void {
    this.#turn++
    clearTimeout(this.#timer)
  }

  /** Says nothing of this failure any more. */
  dismiss(): void {
    this.#seen = this.template?.at ?? ''
    try {
      localStorage.setItem(`${KEY}.${this.user}`, this.#seen)
    } catch {
      // It stays away as long as the page.
    }
  }

  async #look(turn: number, wait = LOOK_MS): Promise<void> {
    let template: HomeTemplate | null = null
    try {
      template = await this.ask()
    } catch {
      // The drawer says by itself that the server is away.
    }
    if (turn !== this.#turn) return
    if (template) this.template = template
    else if (this.template && this.template.state !== 'pending') return // it is known, and for good
    if (!template) this.#timer = setTimeout(() => void this.#look(turn, Math.min(wait * 2, LOOK_MOST_MS)), wait)
    else if (template.state === 'pending') this.#timer = setTimeout(() => void this.#look(turn), LOOK_MS)
  }
}
