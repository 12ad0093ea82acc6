import { describe, expect, it } from 'vitest'
import { safeLink, shownAddress } from '../src/lib/terminal/links'
import { oscLinks } from '../src/lib/terminal/osc-links'

describe('the address of a link', () => {
  it.each([
    ['https://example.org/a?b#c', 'https://example.org/a?b#c'],
    ['mailto:ada@example.org', 'mailto:ada@example.org'],
    ['https://bank.example@evil.test/', 'https://evil.test/'],
    ['https://bank.example%2flogin:x@evil.test:8443/y', 'https://evil.test:8443/y'],
    ['https://a.test/\u202egpj.exe', 'https://a.test/%E2%80%AEgpj.exe'],
    ['javascript:alert(1)\u202e\u200b\x07', 'javascript:alert(1)'],
    ['no address\u2066\u2028', 'no address'],
  ])('%j is shown as %s', (uri, shown) => expect(shownAddress(uri)).toBe(shown))

  it('loses its middle when it is long, and never the end of its host', () => {
    const long = shownAddress(`https://a.test/${'x'.repeat(500)}/end`)
    expect(long.length).toBeLessThanOrEqual(120)
    expect(long).toMatch(/^https:\/\/a\.test\/x+…x+\/end$/)
    const host = shownAddress(`https://bank.example.${'a'.repeat(60)}.${'b'.repeat(60)}.evil.test/${'x'.repeat(500)}`)
    expect(host.length).toBeLessThanOrEqual(120)
    expect(host).toMatch(/^https:\/\/….*\.evil\.test\/x+…x+$/)
    expect(shownAddress('z'.repeat(200))).toMatch(/^z{59}…z{59}$/)
  })

  it('opens with three schemes only', () => {
    expect(['http://a/', 'https://a/', 'mailto:a@b', 'javascript:1', 'file:///etc', 'data:,', 'x'].map((uri) => safeLink(uri) !== null)).toEqual(
      [true, true, true, false, false, false, false],
    )
  })
})

describe('a link that a program made', () => {
  const uri = 'https://a.test/'
  const begin = () => {
    const log: string[] = []
    const pointer = { hovers: true }
    const links = oscLinks({
      show: (address) => log.push(`show ${address}`),
      open: (address) => log.push(`open ${address}`),
      ask: (address) => log.push(`ask ${address}`),
      hovers: () => pointer.hovers,
    })
    const range = { start: { x: 1, y: 1 }, end: { x: 2, y: 1 } }
    const act = (what: 'hover' | 'leave' | 'activate', to = uri, event = {}) => links[what]?.(event as MouseEvent, to, range)
    return { log, pointer, act }
  }

  it('shows its address under the pointer and opens at a click', () => {
    const { log, act } = begin()
    act('hover')
    act('activate')
    act('leave')
    expect(log).toEqual([`show ${uri}`, `open ${uri}`, 'show null'])
  })

  it('asks when its address was not seen', () => {
    const { log, act } = begin()
    act('activate')
    act('hover', 'https://b.test/')
    act('activate')
    act('leave', 'https://b.test/')
    act('activate', 'https://b.test/')
    expect(log.filter((line) => !line.startsWith('show'))).toEqual([`ask ${uri}`, `ask ${uri}`, 'ask https://b.test/'])
  })

  it('asks at a tap, before which the browser lets a mouse move there', () => {
    const { log, pointer, act } = begin()
    pointer.hovers = false
    act('hover')
    act('activate')
    pointer.hovers = true
    act('hover', uri)
    act('activate', uri, { pointerType: 'touch' })
    expect(log).toEqual([`ask ${uri}`, `show ${uri}`, `ask ${uri}`])
  })

  it('does nothing with a scheme that does not open', () => {
    const { log, act } = begin()
    act('activate', 'javascript:alert(1)')
    expect(log).toEqual([])
  })
})
