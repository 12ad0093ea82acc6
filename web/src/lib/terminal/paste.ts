// Pasted text may run commands by itself: a line end is the Enter key, and a
// control character can be any key. Such text is shown before it is sent.

// Line ends and tabs are judged apart; C1 and the invisible characters that turn text around count as control.
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

export interface PasteReport {
  lines: number
  controls: number
  /** Must a person say yes first? */
  ask: boolean
}

export function inspect(text: string): PasteReport {
  const ends = text.match(/\r\n|\r|\n/g)?.length ?? 0
  const lines = ends + (/[\r\n]$/.test(text) ? 0 : 1)
  const controls = text.match(CONTROLS)?.length ?? 0
  return { lines, controls, ask: ends > 0 || controls > 0 }
}

/** The text without what could act as a key. */
export function clean(text: string): string {
  return text.replace(CONTROLS, '')
}

/** The text with everything invisible made visible, for the question. */
export function visible(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(CONTROLS, (c) => {
      const code = c.codePointAt(0)!
      if (code === 0x1b) return '‹Esc›'
      if (code < 0x20 || code === 0x7f) return `‹Ctrl-${String.fromCodePoint(code ^ 0x40)}›`
      return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`
    })
}

/** What xterm should be given: never the sequence that ends a bracketed paste from inside. */
export function unbracketed(text: string): string {
  let before: string
  do {
    before = text
    text = text.replaceAll('\x1b[201~', '').replaceAll('\u009b201~', '')
  } while (text !== before)
  return text
}
