import { api } from '$lib/api/api'
import { Problem, sentenceOf } from '$lib/api/client'
import type { Session } from '$lib/api/types'
import { LOGIN_ENDED } from '$lib/terminal/verdict'
import type { Verdict } from '$lib/terminal/verdict'
import { sessions } from './sessions.svelte'

/** What stands between the person and the session's terminals. */
export type Gate =
  | { kind: 'asking' }
  | { kind: 'starting' }
  | { kind: 'asleep'; why: string }
  | { kind: 'failed'; why: string }
  | { kind: 'gone'; why: string }
  | { kind: 'unreachable'; why: string }
  | { kind: 'login' }
  | { kind: 'open' }

const POLL_MS = 700
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** The way into one session: asks how it is, wakes it when a person wants it, waits until it runs. */
export class OpenSession {
  gate = $state.raw<Gate>({ kind: 'asking' })
  session = $state.raw<Session | null>(null)
  #left = false

  constructor(readonly name: string) {}

  leave(): void {
    this.#left = true
  }

  async enter(mayWake: boolean): Promise<void> {
    this.gate = { kind: 'asking' }
    await this.#try(async () => {
      const session = await this.#ask()
      if ((session.state === 'asleep' || session.state === 'failed') && mayWake) await this.#wake()
      else await this.#follow(session)
    })
  }

  /** A person asked for it. */
  async wake(): Promise<void> {
    await this.#try(() => this.#wake())
  }

  /** Asks again how it is; no answer changes nothing. */
  async look(): Promise<void> {
    try {
      await this.#ask()
    } catch {
      // The link finds out what is wrong, and says it.
    }
  }

  /** Why the terminal's socket would not open. */
  async explain(): Promise<Verdict> {
    try {
      const session = await this.#ask()
      if (session.state === 'asleep') return { kind: 'asleep', why: session.reason ?? '' }
      if (session.state === 'failed') {
        return { kind: 'stopped', why: session.reason ?? 'The session could not be started.' }
      }
      const why = session.state === 'starting' ? 'The session is starting.' : 'The terminal does not answer yet.'
      return { kind: 'retry', why, pace: 'normal' }
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return { kind: 'login', why: LOGIN_ENDED }
      if (error instanceof Problem && error.status === 404) return { kind: 'gone', why: error.sentence }
      if (error instanceof Problem && error.status === 403) return { kind: 'stopped', why: error.sentence }
      const why = error instanceof Problem && error.unreachable ? 'The server does not answer.' : sentenceOf(error)
      return { kind: 'retry', why, pace: 'normal' }
    }
  }

  async #ask(): Promise<Session> {
    const session = await api.session(this.session?.id ?? this.name)
    this.session = session
    sessions.put(session)
    return session
  }

  async #wake(): Promise<void> {
    this.gate = { kind: 'starting' }
    await api.wake(this.session?.id ?? this.name)
    await this.#follow(await this.#ask())
  }

  async #follow(session: Session): Promise<void> {
    while (session.state === 'starting' && !this.#left) {
      this.gate = { kind: 'starting' }
      await wait(POLL_MS)
      session = await this.#ask()
    }
    if (this.#left) return
    const why = session.reason ?? ''
    if (session.state === 'running') this.gate = { kind: 'open' }
    else if (session.state === 'asleep') this.gate = { kind: 'asleep', why }
    else this.gate = { kind: 'failed', why: why || 'The session could not be started.' }
  }

  async #try(run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (error.status === 401) this.gate = { kind: 'login' }
      else if (error.status === 404) this.gate = { kind: 'gone', why: error.sentence }
      else if (error.unreachable) this.gate = { kind: 'unreachable', why: 'Check your network, then try again.' }
      else this.gate = { kind: 'failed', why: error.sentence }
    }
  }
}
