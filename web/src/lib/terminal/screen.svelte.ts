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
import { openLink, shownAddress } from './links'
import { Mute } from './mute'
import { oscLinks } from './osc-links'
import type { Sink } from './output'
import { SCROLLBACK } from './connection'
import type { Size } from './connection'
import { FOCUS_IN, reportOf } from './reports'
import type { Report } from './reports'
import { BLINKING, RESET } from './reset'
import { WholeCharacters } from './whole'
import type { Bytes } from './wire'

export const FONT = '"JetBrains Mono Variable", ui-monospace, monospace'
/** Room for xterm's own scroll bar, right of the last column. */
export const SCROLLBAR = 10

export interface ScreenOptions {
  theme: ITheme
  fontSize: number
  /** Bytes for the shell, typed by a person. */
  onInput(bytes: Bytes): void
  /** Bytes for the shell that nobody typed: where the pointer is, whether the focus is here. */
  onReport(bytes: Bytes, kind: Report): void
  /** Before xterm sees a key: true keeps it from the terminal. */
  onKey(event: KeyboardEvent): boolean
  onPaste(text: string): void
  onBell(): void
  /** A link whose address was not shown before it was chosen. */
  onLink(uri: string): void
}

/** The address of the link under the pointer. */
export interface PointedLink {
  address: string
  /** The cursor is in the last row, which is to stay free. */
  raised: boolean
}

const encoder = new TextEncoder()
const POINTER = ['pointerdown', 'pointermove'] as const

/** One tab's xterm: lives as long as the tab, is drawn only while its tab is shown. */
export class Screen implements Sink {
  cols = $state(80)
  rows = $state(24)
  link = $state.raw<PointedLink | null>(null)
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
  /** The program was not told that the focus is here since this page drives. */
  #untold = false
  #pointer = ''
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
      linkHandler: oscLinks({
        show: (uri) => this.#point(uri),
        open: openLink,
        ask: (uri) => options.onLink(uri),
        hovers: () => this.#pointer !== 'touch',
      }),
    })
    this.#mute = new Mute(this.term.parser)
    handleClipboard(this.term.parser, this.#mute, (text) => void navigator.clipboard?.writeText(text).catch(() => undefined))
    this.term.loadAddon(this.#fit)
    this.term.loadAddon(this.search)
    this.term.loadAddon(new UnicodeGraphemesAddon())
    this.term.loadAddon(new WebLinksAddon((_event, uri) => openLink(uri)))
    this.term.onBell(() => options.onBell())
    this.term.onData((data) => this.#typed(data))
    this.term.onBinary((data) => this.#binary(data))
    this.term.attachCustomKeyEventHandler((event) => !(event.type === 'keydown' && options.onKey(event)))
  }

  set driver(driver: boolean) {
    if (driver && !this.#driver) this.#untold = true
    this.#driver = driver
    this.#updateMute()
  }

  write(bytes: Bytes, past: boolean, done: () => void): void {
    this.#switchTo(past)
    this.term.write(this.#whole.take(bytes), done)
  }

  present(): void {
    this.#switchTo(false)
  }

  reset(): void {
    this.#whole = new WholeCharacters()
    this.term.write(RESET)
  }

  redraw(): void {
    this.term.write(this.#whole.take(BLINKING))
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
    for (const name of POINTER) element.addEventListener(name, this.#pointed, { capture: true, passive: true })
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
    this.link = null
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
    for (const name of POINTER) this.#element?.removeEventListener(name, this.#pointed, { capture: true })
    this.term.dispose()
  }

  #after(run: () => void): void {
    this.term.write('', run)
  }

  #switchTo(past: boolean): void {
    if (past === this.#writingPast) return
    this.#writingPast = past
    // The switch has to happen between two writes' parsing, not now.
    this.#after(() => {
      this.#drawingPast = past
      this.#updateMute()
    })
  }

  #updateMute(): void {
    const was = this.#mute.muted
    this.#mute.muted = this.#drawingPast || !this.#driver
    if (was && !this.#mute.muted && this.#untold) this.#tellFocus()
  }

  /** Another page may have told the program that the focus is gone. */
  #tellFocus(): void {
    const focused = this.term.element?.classList.contains('focus') // where xterm itself looks
    if (!focused || !this.term.modes.sendFocusMode) return
    this.#untold = false
    this.options.onReport(encoder.encode(FOCUS_IN), 'focus')
  }

  #typed(data: string): void {
    if (!this.#mute.passes(data)) return
    const report = reportOf(data)
    if (report) return this.options.onReport(encoder.encode(data), report)
    const text = this.transform ? this.transform(data) : data
    this.options.onInput(encoder.encode(text))
  }

  /** The oldest form of mouse reports is no text. */
  #binary(data: string): void {
    const bytes = Uint8Array.from(data, (c) => c.charCodeAt(0) & 0xff)
    const report = reportOf(data)
    if (report) this.options.onReport(bytes, report)
    else this.options.onInput(bytes)
  }

  #point(uri: string | null): void {
    const { baseY, cursorY, viewportY } = this.term.buffer.active
    const raised = baseY + cursorY - viewportY >= this.term.rows - 1
    this.link = uri === null ? null : { address: shownAddress(uri), raised }
  }

  #pointed = (event: PointerEvent) => {
    this.#pointer = event.pointerType
  }

  #paste = (event: ClipboardEvent) => {
    event.preventDefault()
    event.stopPropagation()
    this.options.onPaste(event.clipboardData?.getData('text/plain') ?? '')
  }
}
