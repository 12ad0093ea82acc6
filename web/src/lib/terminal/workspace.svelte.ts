import { SvelteMap } from 'svelte/reactivity'
import { Connection } from './connection'
import type { Size } from './connection'
import { inspect, unbracketed, visible } from './paste'
import { shortcut } from './keys'
import type { LinkState } from './link'
import { nextTabName } from './names'
import { recordingWanted } from './recorder'
import { lookOf } from './look'
import { Screen } from './screen.svelte'
import { TabView } from './tab-view.svelte'
import { Unseen } from './unseen'
import type { Verdict } from './verdict'
import { SUBPROTOCOL } from './wire'
import type { Bytes, Tab } from './wire'
import { focusBar } from '$lib/state/focus'
import { drawer } from '$lib/state/drawer.svelte'
import { settings } from '$lib/state/settings.svelte'
import { toasts } from '$lib/state/toasts.svelte'

export interface WorkspaceOptions {
  session: string
  client: string
  explain(): Promise<Verdict>
}

/** Whether something other than a waiting shell runs in a tab. */
function busy(tab: Tab): boolean {
  return !tab.exited && tab.process !== '' && !/^-?(ba|z|da|k|fi|)sh$/.test(tab.process)
}

/** One open session: its connection, its tabs, and the screen of each tab that was looked at. */
export class Workspace {
  tabs = $state.raw<Tab[]>([])
  active = $state<string | null>(null)
  link = $state.raw<LinkState>({ kind: 'closed' })
  /** True once the session's tabs are known. */
  known = $state(false)
  /** Pasted text that waits for a person's yes. */
  pasting = $state<string | null>(null)
  /** A link of a program's whose address nobody has seen yet: it waits for a yes. */
  leading = $state<string | null>(null)
  finding = $state(false)
  /** A tab whose close waits for a yes. */
  closing = $state.raw<Tab | null>(null)
  readonly views = new SvelteMap<string, TabView>()
  readonly unseen = new Unseen()
  #connection: Connection
  #emptied = false
  /** A shell was asked for and is not there yet: its name, and what was typed meanwhile, meant for it. */
  opening = $state.raw<{ name: string; typed: Bytes[] } | null>(null)
  #typingAhead = false
  #record = recordingWanted()

  constructor(options: WorkspaceOptions, size: Size) {
    const path = `/ws/sessions/${encodeURIComponent(options.session)}`
    const origin = location.origin.replace(/^http/, 'ws')
    this.#connection = new Connection({
      client: options.client,
      size,
      look: () => lookOf(settings.palette, settings.fontSize),
      explain: options.explain,
      dial: () => {
        const socket = new WebSocket(origin + path, SUBPROTOCOL)
        socket.binaryType = 'arraybuffer'
        return socket
      },
      visible: () => document.visibilityState === 'visible',
      online: () => navigator.onLine,
      sink: (tab) => this.#view(tab).screen,
      onState: (state) => (this.link = state),
      onWelcome: (tabs) => this.#welcome(tabs),
      onTabs: (tabs) => this.#takeTabs(tabs),
      onStream: (stream) => this.views.get(stream.tab)?.follow(stream),
      onGone: (tab) => this.#gone(tab),
      onLost: (tab, bytes) => this.#lost(tab, new TextDecoder().decode(bytes)),
      onOpened: (tab, name) => this.#opened(tab, name),
      onNotOpened: (name) => this.#notOpened(name),
      onProblem: (sentence) => toasts.problem(sentence),
      onBell: (tab) => this.#bell(tab),
      onCommand: (command) => this.unseen.command(command, command.tab === this.active),
      onNotice: (tab, title, text) => this.#notice(tab, title, text),
      onStreamBytes: (tab, offset, bytes) => this.views.get(tab)?.recorder?.take(offset, bytes),
    })
  }

  get activeView(): TabView | null {
    return (this.active && this.views.get(this.active)) || null
  }

  get activeTab(): Tab | null {
    return this.tabs.find((tab) => tab.tab === this.active) ?? null
  }

  /**
   * There is no shell to type into. One that was just opened may be here before the list that names it: it counts,
   * or a cover would take, and lose, the keys that are meant for it.
   */
  get empty(): boolean {
    return this.known && this.tabs.length === 0 && this.activeView === null
  }

  connect(): void {
    this.#connection.link.connect()
  }

  nudge(): void {
    this.#connection.link.nudge()
  }

  /** See Link.resume. */
  resume(why: string): void {
    this.#connection.link.resume(why)
  }

  /** This document is going and will not come back. */
  leave(): void {
    this.#connection.link.stop()
  }

  dispose(): void {
    this.leave()
    for (const view of this.views.values()) view.screen.dispose()
  }

  resize(size: Size): void {
    this.#connection.resize(size)
  }

  /** The colours or the size of the text changed. */
  relook(): void {
    this.#connection.relook()
  }

  activate(tab: string): void {
    this.active = tab
    this.#typingAhead = false
    this.#connection.watch(tab)
    this.unseen.seen(tab)
  }

  /** Goes to the tab so many places along, around the ends. */
  step(by: number): void {
    const at = this.tabs.findIndex((tab) => tab.tab === this.active)
    const next = this.tabs.at((at + by) % this.tabs.length)
    if (next) this.activate(next.tab)
  }

  newTab(): void {
    if (this.opening) return
    const name = nextTabName(this.tabs.map((tab) => tab.name))
    this.opening = { name, typed: [] }
    this.#typingAhead = true
    this.#connection.open(name)
  }

  rename(tab: string, name: string): void {
    if (!this.#connection.rename(tab, name)) this.#notConnected()
  }

  /** Closes a tab; one in which something runs, only after a yes. */
  async close(tab: Tab): Promise<void> {
    const tabs = await this.#connection.list()
    if (!tabs) return this.#notConnected()
    const now = tabs.find((other) => other.tab === tab.tab)
    if (now && busy(now)) this.closing = now
    else this.closeNow(tab)
  }

  closeNow(tab: Tab): void {
    this.closing = null
    if (this.tabs.length === 1) this.#emptied = true
    if (!this.#connection.close(tab.tab)) this.#notConnected()
  }

  restart(tab: string): void {
    this.#connection.restart(tab)
  }

  drive(tab: string): void {
    this.#connection.drive(tab)
  }

  /** Bytes for the active shell, as if typed. */
  type(text: string): void {
    this.activeView?.screen.term.input(text, true)
  }

  paste(text: string): void {
    if (text === '') return
    if (inspect(text).ask) this.pasting = text
    else this.pasteNow(text)
  }

  pasteNow(text: string): void {
    this.pasting = null
    const term = this.activeView?.screen.term
    term?.paste(unbracketed(text))
    term?.focus()
  }

  focus(): void {
    this.activeView?.screen.term.focus()
  }

  #view(tab: string): TabView {
    const screen = new Screen({
      theme: settings.palette,
      fontSize: settings.fontSize,
      onInput: (bytes) => this.#input(tab, bytes),
      onReport: (bytes, kind) => this.#connection.streams.get(tab)?.report(bytes, kind),
      onKey: (event) => this.#key(tab, event),
      onPaste: (text) => this.paste(text),
      onBell: () => this.#bell(tab),
      onLink: (uri) => (this.leading = uri),
    })
    const view = new TabView(tab, screen, this.#record)
    this.views.set(tab, view)
    return view
  }

  #input(tab: string, bytes: Bytes): void {
    // Whoever asked for a new shell types for that one, not for the one still shown.
    if (this.#typingAhead && this.opening) return void this.opening.typed.push(bytes)
    const stream = this.#connection.streams.get(tab)
    if (stream && !stream.ended) stream.type(bytes)
  }

  #key(tab: string, event: KeyboardEvent): boolean {
    if (this.views.get(tab)?.ended && event.key === 'Enter' && !event.ctrlKey && !event.altKey) {
      this.restart(tab)
      return true
    }
    return this.command(event)
  }

  /** Does what one of the page's own keys asks for. */
  command(event: KeyboardEvent): boolean {
    const command = shortcut(event)
    if (!command) return false
    if (command.do === 'copy' && !this.#copy()) return false
    event.preventDefault()
    if (command.do === 'new') this.newTab()
    else if (command.do === 'find') this.finding = true
    else if (command.do === 'bar') focusBar()
    else if (command.do === 'files') drawer.byKey()
    else if (command.do === 'step') this.step(command.by)
    else if (command.do === 'go' && this.tabs[command.index]) this.activate(this.tabs[command.index]!.tab)
    else if (command.do === 'close' && this.activeTab) void this.close(this.activeTab)
    return true
  }

  #copy(): boolean {
    const selected = this.activeView?.screen.term.getSelection()
    if (!selected) return false
    void navigator.clipboard?.writeText(selected).catch(() => undefined)
    return true
  }

  /** Says what a program wants the person to know, and which. Text alone: programs choose it. */
  #notice(tab: string, title: string, text: string): void {
    const name = this.tabs.find((one) => one.tab === tab)?.name
    toasts.program(tab, name ?? '', [title, text].filter(Boolean).join(': ').slice(0, 300))
  }

  #bell(tab: string): void {
    if (tab !== this.active) this.unseen.bell(tab)
  }

  #welcome(tabs: Tab[]): void {
    this.known = true
    const first = tabs.find((tab) => tab.tab === this.active) ?? tabs[0]
    if (first) this.activate(first.tab)
    else if (!this.#emptied) this.newTab()
  }

  #takeTabs(tabs: Tab[]): void {
    this.tabs = tabs
    this.unseen.keep(tabs)
    this.unseen.missed(tabs, this.active)
    if (tabs.length > 0) this.#emptied = false
  }

  #opened(tab: string, name: string): void {
    const typed = this.opening?.name === name ? this.opening.typed : []
    this.opening = null
    this.activate(tab)
    for (const bytes of typed) this.#input(tab, bytes)
  }

  #notOpened(name: string): void {
    if (this.opening?.name !== name) return
    const typed = this.opening.typed.map((bytes) => new TextDecoder().decode(bytes)).join('')
    this.opening = null
    if (typed) toasts.problem(`Not sent, because the new shell did not open: ${visible(typed).slice(0, 200)}`)
  }

  #gone(tab: string): void {
    this.views.get(tab)?.screen.dispose()
    this.views.delete(tab)
    if (this.active !== tab) return
    const neighbour = this.tabs.at(-1)
    if (neighbour) this.activate(neighbour.tab)
    else this.active = null
  }

  #lost(tab: string, text: string): void {
    const view = this.views.get(tab)
    if (view) view.lost += text
    else toasts.problem(`Not sent, because its shell is gone: ${visible(text).slice(0, 200)}`)
  }

  #notConnected(): void {
    toasts.problem('There is no connection right now. Try again when it is back.')
  }
}
