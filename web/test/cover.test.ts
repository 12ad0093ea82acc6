import { describe, expect, it } from 'vitest'
import { coverOf } from '../src/lib/main/cover'
import type { Situation } from '../src/lib/main/cover'

const working: Situation = {
  name: 'main',
  gate: { kind: 'open' },
  link: { kind: 'open', latency: 3 },
  empty: false,
  opening: false,
}
const cover = (change: Partial<Situation>) => coverOf({ ...working, ...change })

describe('what covers the terminal', () => {
  it('is nothing while there is something to work in, connected or not', () => {
    expect(cover({})).toBeNull()
    expect(cover({ link: { kind: 'waiting', until: 0, why: 'No answer.' } })).toBeNull()
    expect(cover({ link: { kind: 'connecting', again: true } })).toBeNull()
    expect(cover({ link: { kind: 'offline' } })).toBeNull()
    expect(cover({ link: { kind: 'paused' } })).toBeNull()
  })

  it.each([
    [{ link: { kind: 'replaced' } }, 'here'],
    [{ link: { kind: 'asleep', why: '' } }, 'wake'],
    [{ gate: { kind: 'asleep', why: '' } }, 'wake'],
    [{ link: { kind: 'gone', why: 'It was deleted.' } }, 'home'],
    [{ link: { kind: 'stopped', why: 'You may not.' } }, 'retry'],
    [{ gate: { kind: 'unreachable', why: 'No network.' } }, 'retry'],
    [{ gate: { kind: 'failed', why: 'No room.' } }, 'wake'],
    [{ empty: true }, 'new-tab'],
  ] as Array<[Partial<Situation>, string]>)('%j offers %s first, and says why', (change, act) => {
    const words = cover(change)
    expect(words?.acts?.[0]?.[0]).toBe(act)
    expect(words?.why).toMatch(/\.$/)
    expect(words?.busy).toBeFalsy()
  })

  it('promises the shells of a frozen session, and none of a stopped one', () => {
    expect(cover({ gate: { kind: 'asleep', why: 'idle for 2 hours' }, frozen: true })?.why).toMatch(/^Idle for 2 hours\. Its shells wait/)
    expect(cover({ link: { kind: 'asleep', why: '' }, frozen: false })?.why).toMatch(/^Its shells have ended/)
  })

  it.each([
    { gate: { kind: 'asking' } },
    { gate: { kind: 'starting' } },
    { link: { kind: 'connecting', again: false } },
    { empty: true, opening: true },
  ] as Array<Partial<Situation>>)('%j passes by itself', (change) => {
    expect(cover(change)).toMatchObject({ busy: true })
    expect(cover(change)?.acts).toBeUndefined()
  })
})
