import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Screen } from '../src/lib/terminal/screen.svelte'

// It unpacks its tables as only a browser can.
vi.mock('@xterm/addon-unicode-graphemes', () => ({ UnicodeGraphemesAddon: class { activate() {} } }))

const bytes = (text: string) => new TextEncoder().encode(text)
const copy = (text: string) => `\x1b]52;c;${Buffer.from(text).toString('base64')}\x07`

interface Inside {
  _core: {
    coreService: { isCursorHidden: boolean; triggerBinaryEvent(data: string): void }
    _inputHandler: { onColor(run: (event: Array<{ type: number; index?: number }>) => void): void }
  }
}

function begin() {
  const typed: string[] = []
  const said: string[] = []
  const screen = new Screen({
    theme: {},
    fontSize: 14,
    onInput: (data) => typed.push(new TextDecoder().decode(data)),
    onReport: (data, kind) => said.push(`${kind} ${new TextDecoder('latin1').decode(data)}`),
    onKey: () => false,
    onPaste: () => {},
    onBell: () => {},
    onLink: () => {},
  })
  const focus = { on: true }
  const classList = { contains: (name: string) => name === 'focus' && focus.on }
  Object.defineProperty(screen.term, 'element', { value: { classList } })
  const write = (text: string, past = false) => new Promise<void>((done) => screen.write(bytes(text), past, done))
  const settle = () => new Promise<void>((done) => screen.term.write('', done))
  return { screen, inside: (screen.term as unknown as Inside)._core, typed, said, focus, write, settle }
}

const writeText = vi.fn((_text: string) => Promise.resolve())
beforeEach(() => void vi.stubGlobal('navigator', { clipboard: { writeText } }))
afterEach(() => {
  writeText.mockClear()
  vi.unstubAllGlobals()
})

describe('what xterm says by itself', () => {
  it('is not typing', () => {
    const { screen, inside, typed, said } = begin()
    screen.transform = (data) => data.toUpperCase()
    screen.term.input('\x1b[<0;1;1M', false)
    inside.coreService.triggerBinaryEvent('\x1b[M\x43\xff\x21')
    inside.coreService.triggerBinaryEvent('\x1b[M \x21\x21')
    screen.term.input('ls', true)
    expect(said).toEqual(['press \x1b[<0;1;1M', 'hover \x1b[M\x43\xff\x21', 'press \x1b[M \x21\x21'])
    expect(typed).toEqual(['LS'])
  })

  it('is heard once the past is drawn, though the program is silent', async () => {
    const { screen, said, focus, write, settle } = begin()
    focus.on = false
    screen.driver = true
    await write('\x1b[?1004h$ ', true)
    screen.term.input('\x1b[O', false)
    expect(said).toEqual([])
    screen.present()
    await settle()
    screen.term.input('\x1b[O', false)
    expect(said).toEqual(['focus \x1b[O'])
  })
})

describe('a page that begins to drive', () => {
  it('says once that the focus is in it', async () => {
    const { screen, said, write } = begin()
    screen.present()
    await write('\x1b[?1004h')
    screen.driver = false
    expect(said).toEqual([])
    screen.driver = true
    screen.driver = true
    await write('vim')
    expect(said).toEqual(['focus \x1b[I'])
    screen.driver = false
    screen.driver = true
    expect(said).toHaveLength(2)
  })

  it('says it after the past, in which the program asked for it', async () => {
    const { screen, said, write, settle } = begin()
    screen.driver = true
    void write('\x1b[?1004h', true)
    screen.present()
    await settle()
    expect(said).toEqual(['focus \x1b[I'])
    await write('again', true)
    screen.present()
    await settle()
    expect(said).toHaveLength(1)
  })

  it('says nothing without the focus, or to a program that does not ask', async () => {
    const { screen, said, focus, write } = begin()
    screen.present()
    await write('$ ')
    screen.driver = true
    screen.driver = false
    await write('\x1b[?1004h')
    focus.on = false
    screen.driver = true
    expect(said).toEqual([])
  })
})

it('gives the clipboard what is new, and in the page that drives', async () => {
  const { screen, write } = begin()
  screen.driver = true
  await write(copy('past'), true)
  await write(copy('new'))
  screen.driver = false
  await write(copy('elsewhere'))
  expect(writeText.mock.calls).toEqual([['new']])
})

describe('a new shell in an ended tab', () => {
  it('has nothing of the old one', async () => {
    const { screen, inside, write, settle } = begin()
    await write('\x1b[?25l\x1b[20h\x1b[?12l\x1b]4;1;#123456\x07\x1b]11;#123456\x07old')
    expect(inside.coreService.isCursorHidden).toBe(true)
    const restored: Array<number | undefined> = []
    inside._inputHandler.onColor((event) => event.forEach(({ type, index }) => type === 2 && restored.push(index)))
    screen.reset()
    await settle()
    expect(inside.coreService.isCursorHidden).toBe(false)
    expect(screen.term.options).toMatchObject({ convertEol: false, cursorBlink: true })
    expect(restored).toEqual([undefined, 256, 257, 258])
    expect(screen.text()).toBe('')
  })

  it('blinks as in a new page once it is redrawn', async () => {
    const { screen, write, settle } = begin()
    await write('\x1b[?12l\x1b]0;half')
    expect(screen.term.options.cursorBlink).toBe(false)
    screen.redraw()
    await settle()
    expect(screen.term.options.cursorBlink).toBe(true)
    await write('whole')
    expect(screen.text()).toBe('whole')
  })

  it('carries out nothing that the old one left unfinished', async () => {
    const { screen, write } = begin()
    screen.driver = true
    await write(copy('half').slice(0, -1))
    screen.reset()
    await write('new')
    expect(writeText).not.toHaveBeenCalled()
    expect(screen.text()).toBe('new')
  })

  it('does not begin with half a character', async () => {
    const { screen } = begin()
    screen.write(Uint8Array.of(0xe2, 0x80), false, () => {})
    screen.reset()
    await new Promise<void>((done) => screen.write(Uint8Array.of(0x94, ...bytes('new')), false, done))
    expect(screen.text()).toBe('new')
  })
})
