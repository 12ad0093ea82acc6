import headless from '@xterm/headless'
import { describe, expect, it } from 'vitest'
import { handleClipboard } from '../src/lib/terminal/clipboard'
import { Mute } from '../src/lib/terminal/mute'

function terminal() {
  const term = new headless.Terminal({ allowProposedApi: true, cols: 80, rows: 24 })
  const mute = new Mute(term.parser)
  const typed: string[] = []
  term.onData((data) => {
    if (mute.passes(data)) typed.push(data)
  })
  const write = (text: string) => new Promise<void>((resolve) => term.write(text, resolve))
  const screen = () => term.buffer.active.getLine(0)!.translateToString(true)
  return { term, mute, typed, write, screen }
}

const questions: Record<string, string> = {
  DA1: '\x1b[c',
  'DA1 with 0': '\x1b[0c',
  DA2: '\x1b[>c',
  DA3: '\x1b[=c',
  'DSR status': '\x1b[5n',
  CPR: '\x1b[6n',
  'private CPR': '\x1b[?6n',
  DECRQM: '\x1b[?2004$p',
  'ANSI DECRQM': '\x1b[4$p',
  XTVERSION: '\x1b[>0q',
  'kitty keyboard': '\x1b[?u',
  'text area size': '\x1b[18t',
  'title report': '\x1b[21t',
  'DECRQSS SGR': '\x1bP$qm\x1b\\',
  XTGETTCAP: '\x1bP+q544e\x1b\\',
  'OSC 10': '\x1b]10;?\x07',
  'OSC 11': '\x1b]11;?\x1b\\',
  'OSC 12': '\x1b]12;?\x07',
  'OSC 4': '\x1b]4;1;?\x07',
}

describe('questions, which the guest has answered', () => {
  it.each(Object.entries(questions))('%s is not answered again, by the driver either', async (_name, question) => {
    const { mute, typed, write, screen } = terminal()
    await write(`a${question}b`)
    mute.muted = false
    await write(question)
    expect(typed).toEqual([])
    expect(screen()).toBe('ab')
  })

  it('lets a person type meanwhile', async () => {
    const { term, typed, write } = terminal()
    const drawing = write(Object.values(questions).join(''))
    term.input('ls\r', true)
    await drawing
    expect(typed).toEqual(['ls\r'])
  })

  it('still changes colours, modes and sizes', async () => {
    const { term, write, typed } = terminal()
    await write('\x1b[?2004h\x1b[?1h\x1b]10;#ff0000\x07\x1b[4h')
    expect(term.modes.bracketedPasteMode).toBe(true)
    expect(term.modes.applicationCursorKeysMode).toBe(true)
    expect(term.modes.insertMode).toBe(true)
    expect(typed).toEqual([])
  })

  it('takes up focus events from the past without reporting the focus', async () => {
    const { term, mute, typed, write } = terminal()
    await write('\x1b[?1004h')
    expect(term.modes.sendFocusMode).toBe(true)
    expect(mute.passes('\x1b[I')).toBe(false)
    mute.muted = false
    await write('')
    expect(mute.passes('\x1b[I')).toBe(true)
    expect(typed).toEqual([])
  })

  it('switches between two writes exactly where it should', async () => {
    const { term, mute, typed } = terminal()
    const at: boolean[] = []
    term.parser.registerCsiHandler({ final: 'z' }, () => {
      at.push(mute.passes('\x1b[I'))
      return true
    })
    term.write('\x1b[z')
    term.write('', () => (mute.muted = false))
    await new Promise<void>((resolve) => term.write('\x1b[z', resolve))
    expect(at).toEqual([false, true])
    expect(typed).toEqual([])
  })
})

describe('OSC 52', () => {
  const setUp = () => {
    const t = terminal()
    t.mute.muted = false
    const written: string[] = []
    handleClipboard(t.term.parser, t.mute, (text) => written.push(text))
    return { ...t, written }
  }

  it('writes', async () => {
    const { write, written } = setUp()
    await write(`\x1b]52;c;${Buffer.from('häfen').toString('base64')}\x07`)
    expect(written).toEqual(['häfen'])
  })

  it('of the past, or in a page that does not drive, is swallowed', async () => {
    const { mute, write, written, screen } = setUp()
    mute.muted = true
    await write(`a\x1b]52;c;${Buffer.from('old').toString('base64')}\x07b`)
    expect(written).toEqual([])
    expect(screen()).toBe('ab')
  })

  it.each(['\x1b]52;c;?\x07', '\x1b]52;;?\x07', '\x1b]52;c;!!!\x07', '\x1b]52\x07'])('reads nothing: %j', async (sequence) => {
    const { write, written, typed } = setUp()
    await write(sequence)
    expect(written).toEqual([])
    expect(typed).toEqual([])
  })
})
