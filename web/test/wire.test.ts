import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { control, frame, parseServer, split } from '../src/lib/terminal/wire'
import type { ClientMessage } from '../src/lib/terminal/wire'

const vectors = <T>(name: string): T[] =>
  JSON.parse(readFileSync(new URL(`../../internal/wire/testdata/${name}.json`, import.meta.url), 'utf8')) as T[]
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe('frames', () => {
  type Vector = { name: string; hex?: string; repeat?: number; channel?: number; payload?: string; error?: boolean }
  it.each(vectors<Vector>('frames'))('$name', (v) => {
    const message = v.repeat ? new Uint8Array(v.repeat) : Uint8Array.from(Buffer.from(v.hex ?? '', 'hex'))
    if (v.error) return expect(() => split(message)).toThrow()
    const { channel, payload } = split(message)
    expect(channel).toBe(v.channel)
    expect(Buffer.from(payload).toString('hex')).toBe(v.payload)
    expect(frame(channel, payload)).toEqual(message)
  })
})

describe('control messages from the server', () => {
  it.each(vectors<{ name: string; text: string; type: string }>('server'))('$name', (v) => {
    const message = parseServer(new TextEncoder().encode(v.text))
    expect(message?.type).toBe(v.type)
    expect(JSON.stringify(message)).toBe(v.text)
  })

  it.each(['[]', 'null', '{', '{}', '{"type":3}', '{"type":"ack","channel":"0","offset":1}', '{"type":"tabs"}'])(
    'refuses %s',
    (text) => expect(() => parseServer(new TextEncoder().encode(text))).toThrow(),
  )

  it('lets a type of a newer server pass', () => {
    expect(parseServer(new TextEncoder().encode('{"type":"toString"}'))).toBeNull()
  })
})

describe('control messages to the server', () => {
  const own = vectors<{ name: string; text: string; want: string; same?: boolean }>('client').filter((v) => v.same)
  it.each(own)('$name', (v) => {
    const message = control(JSON.parse(v.text) as ClientMessage)
    expect(message[0]).toBe(255)
    expect(decode(message.subarray(1))).toBe(v.text)
  })
})
