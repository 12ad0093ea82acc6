// Programs ask the terminal questions, and xterm.js answers by "typing". The guest
// has answered them, and takes them out of what it sends; one that comes all the
// same is not answered a second time. What a person types at the same moment
// passes. Whether the page has the focus only it knows: it says so while it drives,
// and not for the past, which is drawn again.

interface Disposable {
  dispose(): void
}

type Params = (number | number[])[]
interface FunctionId {
  prefix?: string
  intermediates?: string
  final: string
}

/** The parser hooks shared by @xterm/xterm and @xterm/headless. */
export interface Parser {
  registerCsiHandler(id: FunctionId, run: (params: Params) => boolean): Disposable
  registerDcsHandler(id: FunctionId, run: (data: string, params: Params) => boolean): Disposable
  registerOscHandler(id: number, run: (data: string) => boolean): Disposable
}

const questions: FunctionId[] = [
  { final: 'c' },
  { prefix: '>', final: 'c' },
  { prefix: '=', final: 'c' },
  { final: 'n' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' },
  { prefix: '>', final: 'q' },
  { prefix: '?', final: 'u' },
]

/** Window operations that report; the others move or resize and answer nothing. */
const reports = new Set([11, 13, 14, 15, 16, 18, 19, 20, 21])

const FOCUS = ['\x1b[I', '\x1b[O']

export class Mute {
  /** No focus is reported, and nothing written to the clipboard. */
  muted = true
  #swallowFocus = false

  constructor(parser: Parser) {
    const answered = () => true
    for (const id of questions) parser.registerCsiHandler(id, answered)
    parser.registerCsiHandler({ final: 't' }, ([first]) => reports.has(first as number))
    parser.registerDcsHandler({ intermediates: '$', final: 'q' }, answered)
    parser.registerDcsHandler({ intermediates: '+', final: 'q' }, answered)
    for (const id of [4, 10, 11, 12]) {
      parser.registerOscHandler(id, (data) => data.split(';').includes('?'))
    }
    parser.registerCsiHandler({ prefix: '?', final: 'h' }, (params) => {
      if (this.muted && params.includes(1004)) this.#expectFocusReport()
      return false
    })
  }

  /** Whether xterm's data may go to the shell. All that a person types may. */
  passes(data: string): boolean {
    return !(FOCUS.includes(data) && (this.muted || this.#swallowFocus))
  }

  /**
   * Switching focus events on makes xterm report the focus at once, in the same
   * breath. The mode must be set, the report must not be sent.
   */
  #expectFocusReport(): void {
    this.#swallowFocus = true
    queueMicrotask(() => (this.#swallowFocus = false))
  }
}
