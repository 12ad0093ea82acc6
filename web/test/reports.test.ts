import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { reportOf } from '../src/lib/terminal/reports'
import { Stream } from '../src/lib/terminal/stream'
import type { Attached, Bytes } from '../src/lib/terminal/wire'

const x10 = (code: number) => `\x1b[M${String.fromCharCode(code + 32)}\x21\xff`

describe('a report', () => {
  it.each([
    ['\x1b[I', 'focus'],
    ['\x1b[O', 'focus'],
    ['\x1b[<0;1;1M', 'press'],
    ['\x1b[<0;100;20m', 'press'],
    ['\x1b[<32;3;4M', 'press'],
    ['\x1b[<64;3;4M', 'press'],
    ['\x1b[<67;3;4M', 'press'],
    ['\x1b[<163;3;4M', 'press'],
    ['\x1b[<35;3;4M', 'hover'],
    ['\x1b[<63;3;4M', 'hover'],
    ['\x1b[64;3;4M', 'press'],
    ['\x1b[35;3;4M', 'press'],
    ['\x1b[67;3;4M', 'hover'],
    [x10(0), 'press'],
    [x10(3), 'press'],
    [x10(34), 'press'],
    [x10(64), 'press'],
    [x10(35), 'hover'],
    [x10(35 | 16), 'hover'],
  ])('%j is one: %s', (data, kind) => expect(reportOf(data)).toBe(kind))

  it.each([
    '',
    '\x1b[',
    'x\x1b[I',
    '\x1b[Ix',
    '\x1b[I\x1b[O',
    '\x1b[O\n',
    '\x1bOI',
    '\x1b[M',
    '\x1b[M  ',
    '\x1b[M    ',
    '\x1b[<',
    '\x1b[<0;1M',
    '\x1b[<0;1;1',
    '\x1b[<0;1;1MM',
    '\x1b[<0;1;1Mls\r',
    '\x1b[0;1;1m',
    '\x1b[1;1M',
    '\x1b[A',
  ])('%j is none', (data) => expect(reportOf(data)).toBeNull())
})

describe('the stream', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const attached: Attached = {
    type: 'attached',
    req: 1,
    tab: 't',
    channel: 3,
    epoch: 'e',
    offset: 0,
    mode: 'resume',
    snapshot_bytes: 0,
    cols: 80,
    rows: 24,
    input_offset: 0,
    head: 0,
  }
  const begin = () => {
    const sent: string[] = []
    const sendBytes = (bytes: Bytes) => sent.push(new TextDecoder().decode(bytes.subarray(1))) > 0
    const sink = { write: () => {}, present: () => {}, reset: () => {}, redraw: () => {}, resize: () => {} }
    const stream = new Stream('t', sink, { send: () => true, sendBytes })
    const report = (text: string) => stream.report(new TextEncoder().encode(text), reportOf(text)!)
    return { stream, sent, report }
  }

  it('keeps no report for later', () => {
    const { stream, sent, report } = begin()
    report('\x1b[<0;1;1M')
    expect(stream.input.pending).toBe(0)
    stream.attached(attached)
    stream.driver = true
    stream.down()
    report('\x1b[I')
    stream.type(new TextEncoder().encode('ls'))
    stream.attached({ ...attached, channel: 4 })
    expect(sent).toEqual(['ls'])
  })

  it('takes the drive by pressing, not by looking on', () => {
    const { stream, sent, report } = begin()
    stream.attached(attached)
    for (const text of ['\x1b[I', '\x1b[<35;3;4M', '\x1b[O', '\x1b[<0;3;4M', '\x1b[<32;3;5M', '\x1b[<65;3;5M']) report(text)
    expect(sent).toEqual(['\x1b[<0;3;4M', '\x1b[<32;3;5M', '\x1b[<65;3;5M'])
    stream.driver = true
    report('\x1b[<35;3;6M')
    report('\x1b[O')
    expect(sent.slice(3)).toEqual(['\x1b[<35;3;6M', '\x1b[O'])
  })
})
