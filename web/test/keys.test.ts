import { describe, expect, it } from 'vitest'
import { arrow, controlled, shortcut } from '../src/lib/terminal/keys'
import { safeLink } from '../src/lib/terminal/links'
import { nextTabName, validName } from '../src/lib/terminal/names'

const press = (code: string, mods = '') =>
  shortcut({
    code,
    ctrlKey: mods.includes('c'),
    altKey: mods.includes('a'),
    shiftKey: mods.includes('s'),
    metaKey: mods.includes('m'),
  } as KeyboardEvent)

describe('keys', () => {
  it('makes control characters', () => {
    expect(controlled('c')).toBe('\x03')
    expect(controlled('[')).toBe('\x1b')
    expect(controlled(' ')).toBe('\0')
    expect(controlled('é')).toBe('é')
    expect(controlled('ls')).toBe('ls')
  })

  it('sends arrows as the program asked for them', () => {
    expect(arrow('up', false, false)).toBe('\x1b[A')
    expect(arrow('up', true, false)).toBe('\x1bOA')
    expect(arrow('left', true, true)).toBe('\x1b[1;5D')
  })

  it('knows its own keys and leaves the shell its others', () => {
    expect(press('KeyT', 'cs')).toEqual({ do: 'new' })
    expect(press('KeyT', 'as')).toEqual({ do: 'new' })
    expect(press('ArrowLeft', 'cs')).toEqual({ do: 'step', by: -1 })
    expect(press('KeyB', 'as')).toEqual({ do: 'bar' })
    expect(press('KeyF', 'as')).toEqual({ do: 'files' })
    expect(press('KeyF', 'cs')).toEqual({ do: 'find' })
    expect(press('Digit3', 'a')).toEqual({ do: 'go', index: 2 })
    for (const [code, mods] of [['KeyT', 'c'], ['KeyF', 'a'], ['KeyF', 'csa'], ['KeyW', 'c'], ['KeyC', 'c'], ['KeyB', 'a'], ['KeyB', 'c'], ['KeyB', 'cs'], ['Digit3', 'ca'], ['KeyT', 'csa'], ['KeyT', 'csm']]) {
      expect(press(code!, mods)).toBeNull()
    }
  })
})

describe('names', () => {
  it('numbers new tabs', () => {
    expect(nextTabName([])).toBe('main')
    expect(nextTabName(['main'])).toBe('sh-2')
    expect(nextTabName(['main', 'sh-2', 'sh-4'])).toBe('sh-3')
    expect(nextTabName(['build'])).toBe('main')
  })

  it('refuses what the server refuses', () => {
    expect(['a', '0-', 'a'.repeat(39)].every(validName)).toBe(true)
    expect(['', '-a', 'A', 'a.b', 'a'.repeat(40), 'ä'].some(validName)).toBe(false)
  })
})

describe('links', () => {
  it.each(['https://example.org/a', 'http://x', 'mailto:ada@example.org'])('opens %s', (uri) => expect(safeLink(uri)).not.toBeNull())
  it.each(['javascript:alert(1)', 'file:///etc/passwd', 'data:text/html,x', 'vbscript:x', 'JavaScript:x', 'not a link', ' \x01javascript:x'])(
    'does not open %j',
    (uri) => expect(safeLink(uri)).toBeNull(),
  )
})
