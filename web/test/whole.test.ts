import { Terminal } from '@xterm/headless'
import { describe, expect, it } from 'vitest'
import { WholeCharacters } from '../src/lib/terminal/whole'

const text = 'a — b … “c” 界 🙂 é\u0080\u0fffx'
const bytes = new TextEncoder().encode(text)

function drawn(pieces: Uint8Array[]): Promise<string> {
  const term = new Terminal({ cols: 80, rows: 2, allowProposedApi: true })
  return new Promise((resolve) => {
    for (const p of pieces) term.write(p)
    term.write('', () => resolve(term.buffer.active.getLine(0)!.translateToString(true)))
  })
}

describe('characters that are cut', () => {
  it('are drawn wherever output is cut', async () => {
    const whole = await drawn([bytes])
    for (let at = 1; at < bytes.length; at++) {
      const w = new WholeCharacters()
      expect(await drawn([bytes.slice(0, at), bytes.slice(at)].map((p) => w.take(p).slice())), `cut at ${at}`).toBe(whole)
    }
    const w = new WholeCharacters()
    expect(await drawn([...bytes].map((b) => w.take(Uint8Array.of(b)).slice()))).toBe(whole)
  })

  it('are lost by xterm.js alone, which is why', async () => {
    expect(await drawn([Uint8Array.of(0xe2, 0x80), Uint8Array.of(0x94, 0x62)])).not.toBe('—b')
  })

  it('hold nothing back that is no beginning of one', () => {
    const w = new WholeCharacters()
    expect([...w.take(Uint8Array.of(0x61, 0x80, 0x80, 0x80, 0x80))]).toEqual([0x61, 0x80, 0x80, 0x80, 0x80])
    expect([...w.take(Uint8Array.of(0xe2, 0x80))]).toEqual([])
    expect([...w.take(Uint8Array.of(0x1b))]).toEqual([0xe2, 0x80, 0x1b])
  })
})
