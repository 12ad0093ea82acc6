import type { Mute, Parser } from './mute'

/** The most a program may put on the clipboard, in base64. */
const MOST = 1 << 20

/**
 * OSC 52: a program may write the clipboard, never read it. A question is
 * swallowed without an answer; so is what is only drawn again, or meant for the
 * clipboard of somebody else who drives.
 */
export function handleClipboard(parser: Parser, mute: Pick<Mute, 'muted'>, write: (text: string) => void): void {
  parser.registerOscHandler(52, (data) => {
    if (mute.muted) return true
    const base64 = data.slice(data.indexOf(';') + 1)
    if (!data.includes(';') || base64 === '?' || base64.length > MOST) return true
    let text: string
    try {
      text = new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)))
    } catch {
      return true // not base64: a broken request is no request
    }
    write(text)
    return true
  })
}
