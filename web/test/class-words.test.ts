import { describe, expect, it } from 'vitest'
import type { Session, SessionClass } from '../src/lib/api/types'
import { baseSentence, factsOf, idleSentence, limitRows, moment, networkSentence, NO_ISOLATION, size, span } from '../src/lib/state/class-words'
import { dismissable, sleepWords, stateWords } from '../src/lib/state/session-words'

const standard: SessionClass = {
  name: 'standard',
  runtime: 'crun',
  base: 'host',
  limits: { cpu: 0, cpu_weight: 100, memory: 12 * 2 ** 30, pids: 2048, files: 65536, ptys: 256, inotify: 0, io_weight: 50, scratch: 2 ** 30 },
  disk: 0,
  sudo: false,
  network: { mode: 'internet', allow: [] },
  idle: { freeze_s: 1800, stop_s: 86_400 },
  boundary: 'A container.',
  isolated: true,
  default: true,
  available: true,
}

describe('sizes and times', () => {
  it.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [512 * 2 ** 20, '512 MB'],
    [1.5 * 2 ** 30, '1.5 GB'],
    [2 ** 50, '1024 TB'],
  ])('%i is %s', (bytes, text) => expect(size(bytes)).toBe(text))

  it.each([
    [0, '0 seconds'],
    [1, '1 second'],
    [90, '1 minute 30 seconds'],
    [3600, '1 hour'],
    [86_400, '1 day'],
    [88_200, '1 day'],
    [5400, '1 hour 30 minutes'],
    [93_600, '1 day 2 hours'],
  ])('%i s is %s', (seconds, text) => expect(span(seconds)).toBe(text))

  it('says the day only of another day', () => {
    const now = new Date(2026, 4, 4, 12, 0)
    expect(moment(new Date(2026, 4, 4, 9, 5).toISOString(), now)).not.toMatch(/May/)
    expect(moment(new Date(2026, 4, 3, 9, 5).toISOString(), now)).toMatch(/3/)
    expect(moment('nonsense', now)).toBe('an unknown time')
  })
})

describe('a class in words', () => {
  it('is one line with what matters', () => {
    expect(factsOf(standard)).toBe('12 GB memory · all cores · internet')
    const small = { ...standard, sudo: true, limits: { ...standard.limits, cpu: 1, memory: 0 }, network: { mode: 'allow-list', allow: [] } } as SessionClass
    expect(factsOf(small)).toBe('memory without a limit · 1 core · listed hosts only · sudo')
  })

  it('promises nothing where nothing isolates', () => {
    const open = { ...standard, isolated: false, network: { mode: 'none', allow: [] } } as SessionClass
    expect(limitRows(open)).toEqual([])
    for (const text of [factsOf(open), networkSentence(open), baseSentence(open), NO_ISOLATION])
      expect(text).not.toMatch(/12 GB|no network|None|own loopback|are out of reach|read-only|own account/)
    expect(networkSentence({ ...open, network: { mode: 'internet', allow: [] } })).toBe(networkSentence(open))
  })

  it('says every limit, also that there is none', () => {
    const rows = Object.fromEntries(limitRows(standard))
    expect(rows).toMatchObject({ Memory: '12 GB', Processes: '2,048', 'File watches': 'no limit' })
    expect(rows['Processor']).toBe('all cores')
    expect(rows['Disk']).toBe('home no limit, /tmp 1 GB, share 50 against the usual 100')
  })

  it('says how far it reaches', () => {
    expect(networkSentence({ isolated: true, network: { mode: 'none', allow: [] } })).toMatch(/^None/)
    expect(networkSentence({ isolated: true, network: { mode: 'internet', allow: ['10.1.2.3'] } })).toMatch(/out of reach\. Besides: 10\.1\.2\.3\.$/)
    expect(networkSentence({ isolated: true, network: { mode: 'allow-list', allow: ['example.org:443', '*.example.net'] } })).toBe(
      'Only example.org:443, *.example.net. Everything else is refused.',
    )
    expect(networkSentence({ isolated: true, network: { mode: 'allow-list', allow: [] } })).toMatch(/everything is refused/)
  })

  it('says when it sleeps and what its programs are', () => {
    expect(idleSentence(standard.idle)).toBe('Frozen after 30 minutes without use; it wakes at once, with its shells. Stopped after 1 day asleep.')
    expect(idleSentence({ freeze_s: 0, stop_s: 5 })).toBe('Never sleeps by itself.')
    expect(idleSentence({ freeze_s: 60, stop_s: 0 })).not.toMatch(/Stopped/)
    expect(baseSentence(standard)).toBe('The programs of the server, read-only.')
    expect(baseSentence({ ...standard, base: 'debian' })).toMatch(/^The image debian, .* only the home lasts\.$/)
  })
})

describe('what a session is doing', () => {
  const session = { id: 'x', name: 'main', class: 'standard', state: 'running', why_awake: 'you are connected', created_at: '', active_at: '' } as Session

  it('says why it is awake', () => {
    expect(stateWords(session)).toEqual({ title: 'Running', why: 'You are connected.' })
  })

  it('tells a frozen session, whose shells wait, from a stopped one, whose shells have ended', () => {
    const asleep = { ...session, state: 'asleep', why_awake: '', reason: 'idle for 30 minutes' } as Session
    expect(stateWords({ ...asleep, frozen: true })).toEqual({
      title: 'Frozen',
      why: 'Idle for 30 minutes. Its shells wait as they are; it wakes at once.',
    })
    expect(stateWords(asleep).why).toBe('Idle for 30 minutes. Its shells have ended; your files are kept.')
    expect(sleepWords('', false)).toBe('Its shells have ended; your files are kept.')
    expect(stateWords({ ...asleep, asleep_since: '2026-01-01T00:00:00Z' }).title).toMatch(/^Asleep since /)
  })

  it('says why it failed', () => {
    expect(stateWords({ ...session, state: 'failed', reason: 'no room' } as Session)).toEqual({ title: 'Failed', why: 'No room.' })
  })
})

it('offers to take down only notices that go', () => {
  expect(dismissable({ code: 'oom' })).toBe(true)
  expect(dismissable({ code: 'class_gone' })).toBe(false) // the server says it again as long as it is so
})
