import { FitAddon } from '@xterm/addon-fit'
import { SearchAddon } from '@xterm/addon-search'
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes'
import { WebLinksAddon } from '@xterm/addon-web-links'
import { WebglAddon } from '@xterm/addon-webgl'
import { Terminal } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'
import './screen.css'
import type { ITheme } from '@xterm/xterm'
import { handleClipboard } from './clipboard'
import { devicePixelsAgree } from './device-pixels'
import { openLink } from './links'
import { Mute } from './mute'
import type { Sink } from './output'
import { SCROLLBACK } from './connection'
import type { Size } from './connection'
import { WholeCharacters } from './whole'
import type { Bytes } from './wire'

export const FONT = '"JetBrains Mono Variable", ui-monospace, monospace'
/** Room for xterm's own scroll bar, right of the last column. */
export const SCROLLBAR = 10

export interface ScreenOptions {
  theme: ITheme
  fontSize: number
  /** Bytes for the shell; typed by a person or answered by xterm. */
  onInput(bytes: Bytes): void
  /** Before xterm sees a key: true keeps it from the terminal. */
  onKey(event: KeyboardEvent): boolean
  onPaste(text: string): void
  onBell(): void
}

const encoder = new TextEncoder()

/** One tab's xterm: lives as long as the tab, is drawn only while its tab is shown. */
export class Screen implements Sink {
  cols = $state(80)
  rows = $state(24)
  readonly term: Terminal
  readonly search = new SearchAddon()
  /** Changes what is typed next, once: the sticky Ctrl of the key row. */
  transform: ((data: string) => string) | null = null
  #fit = new FitAddon()
  #webgl: WebglAddon | null = null
  #stopAsking: (() => void) | null = null
  #mute: Mute
  #whole = new WholeCharacters()
  #writingPast = true
  #drawingPast = true
  #driver = false
  #element: HTMLElement | null = null

  constructor(private readonly options: ScreenOptions) {
    this.term = new Terminal({
      allowProposedApi: true,
      fontFamily: FONT,
      fontSize: options.fontSize,
      fontWeight: 400,
      fontWeightBold: 650,
      lineHeight: 1.15,
      theme: options.theme,
      minimumContrastRatio: 3,
      cursorBlink: true,
      cursorInactiveStyle: 'outline',
      scrollback: SCROLLBACK,
      macOptionIsMeta: true,
      rightClickSelectsWord: false,
      overviewRuler: { width: SCROLLBAR },
      linkHandler: { activate: (_event, uri) => openLink(uri), allowNonHttpProtocols: true },
    })
    this.#mute = new Mute(this.term.parser)
    handleClipboard(this.term.parser, (text) => void navigator.clipboard?.writeText(text).catch(() => undefined))
    this.term.loadAddon(this.#fit)
    this.term.loadAddon(this.search)
    this.term.loadAddon(new UnicodeGraphemesAddon())
    this.term.loadAddon(new WebLinksAddon((_event, uri) => openLink(uri)))
    this.term.onBell(() => options.onBell())
    this.term.onData((data) => this.#typed(data))
    this.term.onBinary((data) => options.onInput(Uint8Array.from(data, (c) => c.charCodeAt(0) & 0xff)))
    this.term.attachCustomKeyEventHandler((event) => !(event.type === 'keydown' && options.onKey(event)))
  }

  set driver(driver: boolean) {
    this.#driver = driver
    this.#updateMute()
  }

  write(bytes: Bytes, past: boolean, done: () => void): void {
    if (past !== this.#writingPast) {
      this.#writingPast = past
      // The switch has to happen between two writes' parsing, not now.
      this.#after(() => {
        this.#drawingPast = past
        this.#updateMute()
      })
    }
    this.term.write(this.#whole.take(bytes), done)
  }

  reset(): void {
    this.term.write('\x1bc')
  }

  resize(cols: number, rows: number): void {
    this.#after(() => {
      this.term.resize(cols, rows)
      this.cols = cols
      this.rows = rows
    })
  }

  /** Puts the terminal into the page, once it is visible for the first time. */
  mount(element: HTMLElement): void {
    this.#element = element
    this.term.open(element)
    element.addEventListener('paste', this.#paste, { capture: true })
  }

  /**
   * Only a shown terminal holds a WebGL context: browsers allow a page about sixteen. Calls back once it is clear
   * what draws: cells have another size then, and a terminal that is fitted before is told two sizes.
   */
  show(drawn: () => void): void {
    if (this.#webgl) return drawn()
    if (!this.#element) return
    this.#stopAsking = devicePixelsAgree(this.#element, (agree) => {
      if (agree) this.#drawWithWebgl()
      drawn()
    })
  }

  // At once and not loaded later: its cells are another size, and the terminal is fitted right after.
  #drawWithWebgl(): void {
    const webgl = new WebglAddon()
    try {
      webgl.onContextLoss(() => this.hide())
      this.term.loadAddon(webgl)
      this.#webgl = webgl
    } catch {
      webgl.dispose() // no WebGL here: xterm's DOM renderer stays
    }
  }

  hide(): void {
    this.#stopAsking?.()
    this.#webgl?.dispose()
    this.#webgl = null
  }

  restyle(theme: ITheme, fontSize: number): void {
    this.term.options.theme = theme
    this.term.options.fontSize = fontSize
  }

  /** The size that fills the element the terminal is in. */
  fitting(): Size | null {
    const size = this.#fit.proposeDimensions()
    return size && size.cols > 0 && size.rows > 0 ? { cols: size.cols, rows: size.rows } : null
  }

  text(): string {
    const buffer = this.term.buffer.active
    let out = ''
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y)
      if (line) out += (line.isWrapped || y === 0 ? '' : '\n') + line.translateToString(!buffer.getLine(y + 1)?.isWrapped)
    }
    return out.trimEnd()
  }

  dispose(): void {
    this.#element?.removeEventListener('paste', this.#paste, { capture: true })
    this.term.dispose()
  }

  #after(run: () => void): void {
    this.term.write('', run)
  }

  #updateMute(): void {
    this.#mute.muted = this.#drawingPast || !this.#driver
  }

  #typed(data: string): void {
    if (!this.#mute.passes(data)) return
    const text = this.transform ? this.transform(data) : data
    this.options.onInput(encoder.encode(text))
  }

  #paste = (event: ClipboardEvent) => {
    event.preventDefault()
    event.stopPropagation()
    this.options.onPaste(event.clipboardData?.getData('text/plain') ?? '')
  }
}
