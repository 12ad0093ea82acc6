import { SvelteMap, SvelteSet } from 'svelte/reactivity'
import type { Command, Tab } from './wire'

/** How a command ended. */
export interface Outcome {
  failed: boolean
  words: string
}

/** What happened in tabs since they were shown last, by their ids: most have no screen in this page. */
export class Unseen {
  readonly rang = new SvelteSet<string>()
  /** How the last command ended. */
  readonly ended = new SvelteMap<string, Outcome>()

  /** The last command of each tab that this page knows of. */
  #known = new Map<string, Tab['command']>()

  bell(tab: string): void {
    this.rang.add(tab)
  }

  command({ tab, id, phase, exit_code }: Command, shown: boolean): void {
    this.#take(tab, { id, ended: phase === 'end', ...(exit_code === undefined ? {} : { exit_code }) }, shown)
  }

  /** What was not heard while there was no connection; of a tab that is new to the page nobody knows what was seen. */
  missed(tabs: Tab[], shown: string | null): void {
    for (const { tab, command } of tabs) {
      const before = this.#known.get(tab)
      const same = before?.id === command?.id && !!before?.ended === !!command?.ended
      if (!this.#known.has(tab)) this.#known.set(tab, command)
      else if (!same) this.#take(tab, command, tab === shown)
    }
  }

  #take(tab: string, command: Tab['command'], shown: boolean): void {
    this.#known.set(tab, command)
    if (!command?.ended || shown) return void this.ended.delete(tab)
    const code = command.exit_code
    this.ended.set(tab, { failed: !!code, words: code ? `Command ended with code ${code}` : 'Command ended' })
  }

  seen(tab: string): void {
    this.rang.delete(tab)
    this.ended.delete(tab)
  }

  /** Forgets tabs that are no more. */
  keep(tabs: Tab[]): void {
    const there = new Set(tabs.map(({ tab }) => tab))
    for (const tab of [...this.rang, ...this.ended.keys()]) if (!there.has(tab)) this.seen(tab)
    for (const tab of this.#known.keys()) if (!there.has(tab)) this.#known.delete(tab)
  }
}
