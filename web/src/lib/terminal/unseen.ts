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

  bell(tab: string): void {
    this.rang.add(tab)
  }

  command({ tab, phase, exit_code: code }: Command): void {
    if (phase === 'start') this.ended.delete(tab)
    else this.ended.set(tab, { failed: !!code, words: code ? `Command ended with code ${code}` : 'Command ended' })
  }

  seen(tab: string): void {
    this.rang.delete(tab)
    this.ended.delete(tab)
  }

  /** Forgets tabs that are no more. */
  keep(tabs: Tab[]): void {
    const there = new Set(tabs.map(({ tab }) => tab))
    for (const tab of [...this.rang, ...this.ended.keys()]) if (!there.has(tab)) this.seen(tab)
  }
}
