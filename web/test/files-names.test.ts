import { describe, expect, it } from 'vitest'
import { another, baseOf, crumbs, join, nameProblem, parentOf, shown, shownText, splitEnding, typable, typed, within } from '../src/lib/files/names'
import { seeded } from './network'

describe('names of files', () => {
  it.each([
    ['plain.txt', 'plain.txt'],
    ['häfen 🚢', 'häfen 🚢'],
    ['100%25', '100%'],
    ['a%0Ab', 'a‹U+000A›b'],
    ['%1B[31m', '‹U+001B›[31m'],
    ['x%E2%80%AEgpj', 'x‹U+202E›gpj'],
    ['%FF%FE', '‹FF›‹FE›'],
    ['%FF%25%C3%A4%C3', '‹FF›%‹U+00E4›‹C3›'],
    ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
    ['%', '%'],
    ['%zz', '%zz'],
  ])('shows %j as %j', (name, text) => expect(shownText(name)).toBe(text))

  it('lets nothing through that turns or hides, even as it is', () => {
    for (const bad of ['\u202e', '\u200b', '\x1b', '\n', '\0', '\u2028', '\u2066', '\x9b']) {
      const parts = shown(`a${bad}b`)
      expect(parts.map(({ odd }) => odd)).toEqual([false, true, false])
      expect(parts[1]!.text).toMatch(/^‹U\+[0-9A-F]{4}›$/)
    }
  })

  it('TestAbuse27: whatever the bytes are, nothing shown controls or turns anything', () => {
    const random = seeded(27)
    for (let round = 0; round < 2000; round++) {
      let name = ''
      for (let n = 0; n < 12; n++) {
        const byte = Math.floor(random() * 256)
        name += random() < 0.5 ? `%${byte.toString(16).padStart(2, '0')}` : String.fromCharCode(Math.floor(random() * 0x2100))
      }
      expect(shownText(name)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}]/u)
    }
  })

  it('takes what a person types back to the same name', () => {
    for (const text of ['a b', '50%', '%41', 'ü', '🚢', '<b>']) {
      expect(shownText(typed(text))).toBe(text)
      expect(typable(typed(text))).toBe(true)
    }
    expect(typed('50%41')).toBe('50%2541')
    expect(typed('a\u202eb')).toBe('a%E2%80%AEb')
    expect(typable('%FF')).toBe(false)
  })

  it.each(['', '.', '..', 'a/b', 'a\0', 'x'.repeat(256), 'ü'.repeat(128)])('refuses %j', (text) => expect(nameProblem(text)).not.toBe(''))
  it.each(['a', '...', ' ', 'x'.repeat(255)])('takes %j', (text) => expect(nameProblem(text)).toBe(''))

  it('takes paths apart and puts them together', () => {
    expect(join('.', 'a')).toBe('a')
    expect(join('a', 'b')).toBe('a/b')
    expect(parentOf('a')).toBe('.')
    expect(parentOf('a/b/c')).toBe('a/b')
    expect(baseOf('a/b')).toBe('b')
    expect(crumbs('.')).toEqual(['.'])
    expect(crumbs('a/b')).toEqual(['.', 'a', 'a/b'])
    expect(within('a/b', 'a')).toBe(true)
    expect(within('ab', 'a')).toBe(false)
    expect(within('a', '.')).toBe(true)
  })

  it('makes another name before the ending', () => {
    expect(another('plan.txt', 2)).toBe('plan (2).txt')
    expect(another('a.tar.gz', 3)).toBe('a (3).tar.gz')
    expect(another('.bashrc', 2)).toBe('.bashrc (2)')
    expect(another('boat', 2)).toBe('boat (2)')
    expect(splitEnding('x')).toEqual(['x', ''])
  })
})
