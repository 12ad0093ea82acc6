import { cellsOf } from './cells'
import type { TabView } from '$lib/terminal/tab-view.svelte'
import type { Workspace } from '$lib/terminal/workspace.svelte'

// What end-to-end tests may see from outside, read only: text that is on the
// screen anyway, and, when localStorage.staitheDebug is 1, the bytes behind it.
// Nothing here types, and nothing here is a secret to the page's own user.

export interface Received {
  /** Where the recording begins; 0 when the page was there from the shell's birth. */
  from: number
  /** The next byte wanted. */
  offset: number
  sha256: string
}

export interface TestHook {
  /** The whole buffer of a tab, by name or id; null if this page does not show it. */
  text(tab: string): string | null
  /** How far the output of a tab was received; null without recording. */
  offset(tab: string): number | null
  /** The counted output bytes since `from`; null without recording. */
  received(tab: string): Promise<Received | null>
  /** The same bytes themselves, in base64. */
  bytes(tab: string): string | null
}

declare global {
  interface Window {
    staithe?: TestHook
  }
}

/** Its screens are gone: a test must not read them as if they were shown. */
export function hideFromTests(): void {
  delete window.staithe
}

export function showToTests(workspace: Workspace): void {
  const find = (tab: string): TabView | undefined => {
    const id = workspace.tabs.find(({ name }) => name === tab)?.tab ?? tab
    return workspace.views.get(id)
  }
  window.staithe = Object.freeze({
    cells: (tab: string) => {
      const view = find(tab)
      return view ? cellsOf(view.screen.term) : null
    },
    text: (tab: string) => find(tab)?.screen.text() ?? null,
    offset: (tab: string) => find(tab)?.recorder?.offset ?? null,
    received: async (tab: string) => {
      const recorder = find(tab)?.recorder
      return recorder ? { from: recorder.from, offset: recorder.offset, sha256: await recorder.sha256() } : null
    },
    bytes: (tab: string) => {
      const bytes = find(tab)?.recorder?.bytes()
      if (!bytes) return null
      let binary = ''
      for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192))
      return btoa(binary)
    },
  })
}
