import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Backoff } from '../src/lib/terminal/backoff'
import { Link, CONNECT_MS, PROBE_MS } from '../src/lib/terminal/link'
import type { LinkState } from '../src/lib/terminal/link'
import { closeVerdict } from '../src/lib/terminal/verdict'
import type { Verdict } from '../src/lib/terminal/verdict'
import { FakeGuest } from './fake-guest'
import { Wire } from './network'

function setUp() {
  const guest = new FakeGuest()
  const wires: Wire[] = []
  const states: LinkState[] = []
  const world = { visible: true, online: true, verdict: { kind: 'retry', why: 'No answer.', pace: 'normal' } as Verdict, asked: 0 }
  const link = new Link({
    dial: () => {
      const wire = new Wire(guest)
      wires.push(wire)
      return wire
    },
    explain: () => {
      world.asked++
      return Promise.resolve(world.verdict)
    },
    client: 'client_0123456789',
    visible: () => world.visible,
    online: () => world.online,
    random: () => 0.999999,
    onState: (state) => states.push(state),
    onWelcome: () => {},
    onMessage: () => {},
    onData: () => {},
    onDown: () => {},
  })
  const wire = () => wires.at(-1)!
  const welcome = () => {
    wire().open()
    wire().deliverUp()
    wire().deliverDown()
  }
  const close = (code: number, reason = '') => wire().onclose?.({ code, reason } as CloseEvent)
  return { link, wires, wire, welcome, close, states, world, last: () => states.at(-1)! }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('backoff', () => {
  it('doubles from a quarter of a second to fifteen seconds', () => {
    const backoff = new Backoff(() => 1)
    expect(Array.from({ length: 9 }, () => backoff.next())).toEqual([
      250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000,
    ])
    backoff.reset()
    expect(backoff.next()).toBe(250)
  })

  it('has full jitter', () => {
    expect(new Backoff(() => 0).next()).toBe(0)
    expect(new Backoff(() => 0.5).next()).toBe(125)
  })
})

describe('close codes', () => {
  it.each([
    [1001, 'retry'],
    [1006, 'retry'],
    [1011, 'retry'],
    [4400, 'stopped'],
    [4401, 'login'],
    [4403, 'stopped'],
    [4404, 'gone'],
    [4408, 'retry'],
    [4409, 'replaced'],
    [4410, 'gone'],
    [4412, 'asleep'],
    [4429, 'retry'],
  ])('%i is %s', (code, kind) => {
    const verdict = closeVerdict(code, '')
    expect(verdict.kind).toBe(kind)
    if ('why' in verdict) expect(verdict.why).toMatch(/^[A-Z].*\.$/)
    expect(JSON.stringify(verdict)).not.toContain(String(code))
  })

  it('gives a reason as a sentence', () => {
    expect(closeVerdict(4412, 'nobody was here')).toEqual({ kind: 'asleep', why: 'Nobody was here.' })
  })
})

describe('the link', () => {
  it('waits longer and longer while nobody answers, and asks why each time', async () => {
    const { link, wires, close, last, world } = setUp()
    link.connect()
    for (const [i, wait] of [250, 500, 1000, 2000].entries()) {
      close(1006)
      await vi.advanceTimersByTimeAsync(0)
      expect(last()).toMatchObject({ kind: 'waiting', why: 'No answer.' })
      expect(world.asked).toBe(i + 1)
      await vi.advanceTimersByTimeAsync(wait - 2)
      expect(wires.length).toBe(i + 1)
      await vi.advanceTimersByTimeAsync(2)
      expect(wires.length).toBe(i + 2)
    }
  })

  it('tries at once when the page comes to the front', async () => {
    const { link, wires, close } = setUp()
    link.connect()
    for (let i = 0; i < 6; i++) {
      close(1006)
      await vi.advanceTimersByTimeAsync(15_000)
    }
    close(1006)
    await vi.advanceTimersByTimeAsync(10)
    const before = wires.length
    link.nudge()
    expect(wires.length).toBe(before + 1)
  })

  it('does not reconnect while hidden, or offline', async () => {
    const { link, wires, welcome, close, world, last } = setUp()
    link.connect()
    welcome()
    world.visible = false
    close(1001)
    expect(last().kind).toBe('paused')
    await vi.advanceTimersByTimeAsync(3_600_000)
    link.nudge()
    expect(wires.length).toBe(1)
    world.visible = true
    link.nudge()
    expect(wires.length).toBe(2)
    welcome()
    world.online = false
    close(1006)
    expect(last().kind).toBe('offline')
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(wires.length).toBe(2)
  })

  it('comes back at once when the server says that it is going away', async () => {
    const { link, wires, welcome, close } = setUp()
    link.connect()
    welcome()
    close(1001)
    await vi.advanceTimersByTimeAsync(0)
    expect(wires.length).toBe(2)
  })

  it.each([4400, 4403, 4404, 4409, 4410, 4412, 4401])('stays away after %i, whatever happens to the page', async (code) => {
    const { link, wires, welcome, close } = setUp()
    link.connect()
    welcome()
    close(code)
    link.nudge()
    await vi.advanceTimersByTimeAsync(600_000)
    expect(wires.length).toBe(1)
    link.connect()
    expect(wires.length).toBe(2)
  })

  it('never wakes a session: asleep over HTTP is the end of trying', async () => {
    const { link, wires, close, world, last } = setUp()
    world.verdict = { kind: 'asleep', why: '' }
    link.connect()
    close(1006)
    await vi.advanceTimersByTimeAsync(600_000)
    expect(last().kind).toBe('asleep')
    expect(wires.length).toBe(1)
  })

  it('gives up a socket that answers three pings with silence', async () => {
    const { link, wires, welcome, wire, last } = setUp()
    link.connect()
    welcome()
    const first = wire()
    await vi.advanceTimersByTimeAsync(1000 + 2 * 20_000)
    expect(last().kind).toBe('open')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(first.cutOff).toBe(true)
    expect(wires.length).toBeGreaterThanOrEqual(1)
    expect(['waiting', 'connecting']).toContain(last().kind)
  })

  it('measures the round trip', async () => {
    const { link, welcome, wire, last } = setUp()
    link.connect()
    welcome()
    await vi.advanceTimersByTimeAsync(1000)
    wire().deliverUp()
    await vi.advanceTimersByTimeAsync(42)
    wire().deliverDown()
    expect(last()).toEqual({ kind: 'open', latency: 42 })
  })

  it('doubts an open socket after the page was away, and drops it without an answer', async () => {
    const { link, welcome, wire, last } = setUp()
    link.connect()
    welcome()
    await vi.advanceTimersByTimeAsync(2000)
    link.nudge()
    link.nudge()
    await vi.advanceTimersByTimeAsync(PROBE_MS - 1)
    expect(last().kind).toBe('open')
    await vi.advanceTimersByTimeAsync(1)
    expect(wire().cutOff).toBe(true)
  })

  it('gives up a socket that never opens', async () => {
    const { link, wire, world } = setUp()
    link.connect()
    const first = wire()
    await vi.advanceTimersByTimeAsync(CONNECT_MS)
    expect(first.cutOff).toBe(true)
    expect(world.asked).toBe(1)
  })

  it('says 1000 when it leaves for good, and stays away', async () => {
    const { link, welcome, wire, wires, last } = setUp()
    link.connect()
    welcome()
    link.stop()
    expect(wire().closedWith).toBe(1000)
    expect(last().kind).toBe('closed')
    link.nudge()
    await vi.advanceTimersByTimeAsync(600_000)
    expect(wires.length).toBe(1)
  })

  it('comes back from a refused login that still holds as from a drop: slower each time, and not while hidden', async () => {
    const { link, wires, welcome, close, world, last } = setUp()
    link.connect()
    for (const [i, wait] of [250, 500, 1000].entries()) {
      welcome()
      close(4401)
      expect(last().kind).toBe('login')
      link.resume('The login was renewed.')
      await vi.advanceTimersByTimeAsync(wait - 2)
      expect(wires.length).toBe(i + 1)
      await vi.advanceTimersByTimeAsync(2)
      expect(wires.length).toBe(i + 2)
    }
    welcome()
    close(4401)
    world.visible = false
    link.resume('The login was renewed.')
    await vi.advanceTimersByTimeAsync(600_000)
    expect(last().kind).toBe('paused')
    expect(wires.length).toBe(4)
  })

  it('stops at a message it cannot read, and says so', () => {
    const { link, welcome, wire, last } = setUp()
    link.connect()
    welcome()
    wire().onmessage?.({ data: 'text' } as MessageEvent<unknown>)
    expect(last()).toMatchObject({ kind: 'stopped' })
  })
})
