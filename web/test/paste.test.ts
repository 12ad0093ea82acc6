import { describe, expect, it } from 'vitest'
import { clean, inspect, unbracketed, visible } from '../src/lib/terminal/paste'

describe('the paste guard', () => {
  it.each(['ls -la', 'häfen\tkai', '🚢', ''])('lets %j pass', (text) => expect(inspect(text).ask).toBe(false))

  it.each(['ls\n', 'a\nb', 'a\rb', '\x1b[A', 'a\x03', '\x7f', '\x9b201~', 'x\u202ey', '\0'])('asks about %j', (text) =>
    expect(inspect(text).ask).toBe(true),
  )

  it('counts lines as a person does', () => {
    expect(inspect('a\r\nb\r\n').lines).toBe(2)
    expect(inspect('a\nb').lines).toBe(2)
    expect(inspect('a\n').lines).toBe(1)
  })

  it('shows what cannot be seen', () => {
    expect(visible('a\x1b[31m\r\nb\x7f\x03\u202e')).toBe('a‹Esc›[31m\nb‹Ctrl-?›‹Ctrl-C›‹U+202E›')
  })

  it('cleans keys away, not text', () => {
    expect(clean('a\x1bb\tc\nd\x00')).toBe('ab\tc\nd')
    expect(inspect(clean('\x1b\x9b\u2066x')).controls).toBe(0)
  })

  it('lets nothing end a bracketed paste from inside, nested or not', () => {
    expect(unbracketed('a\x1b[201~b')).toBe('ab')
    expect(unbracketed('a\x1b[20\x1b[201~1~b')).toBe('ab')
    expect(unbracketed('a\x9b201~b')).toBe('ab')
  })
})
