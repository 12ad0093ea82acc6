import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Connection } from '../src/lib/terminal/connection'
import { Unseen } from '../src/lib/terminal/unseen'
import type { Command, Tab } from '../src/lib/terminal/wire'
import { FakeGuest } from './fake-guest'
import { Wire } from './network'

const command = (tab: string, phase: 'start' | 'end', code?: number): Command => ({
  type: 'command',
  tab,
  id: 1,
  phase,
  offset: 0,
  ...(code === undefined ? {} : { exit_code: code }),
})

describe('the connection', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('hears of tabs that it shows nothing of', () => {
    const guest = new FakeGuest()
    guest.add('main')
    const other = guest.add('sh-2')
    const rang: string[] = []
    const commands: Command[] = []
    let wire: Wire | undefined
    const connection = new Connection({
      dial: () => (wire = new Wire(guest)),
      explain: () => Promise.resolve({ kind: 'retry', why: 'test', pace: 'normal' }),
      client: 'client_0123456789',
      visible: () => true,
      online: () => true,
      size: { cols: 80, rows: 24 },
      sink: () => ({ write: () => {}, present: () => {}, reset: () => {}, redraw: () => {}, resize: () => {} }),
      onState: () => {},
      onWelcome: () => {},
      onTabs: () => {},
      onStream: () => {},
      onGone: () => {},
      onLost: () => {},
      onOpened: () => {},
      onNotOpened: () => {},
      onProblem: () => {},
      onBell: (tab) => rang.push(tab),
      onCommand: (news) => commands.push(news),
    })
    connection.link.connect()
    wire!.open()
    wire!.deliverUp()
    wire!.deliverDown()
    expect(connection.streams.size).toBe(0)
    wire!.server.say({ type: 'bell', tab: other.id })
    wire!.server.say(command(other.id, 'end', 2))
    while (wire!.down.length > 0) wire!.deliverDown()
    expect(rang).toEqual([other.id])
    expect(commands).toEqual([command(other.id, 'end', 2)])
    connection.link.stop()
  })
})

describe('what was not seen', () => {
  it('is kept by tab until the tab is shown or gone', () => {
    const unseen = new Unseen()
    unseen.bell('a')
    unseen.bell('b')
    unseen.command(command('b', 'end', 3), false)
    unseen.seen('a')
    expect([...unseen.rang]).toEqual(['b'])
    expect(unseen.ended.get('b')).toEqual({ failed: true, words: 'Command ended with code 3' })
    unseen.keep([{ tab: 'a' }, { tab: 'c' }] as Tab[])
    expect(unseen.rang.size + unseen.ended.size).toBe(0)
  })

  it('says how the last command ended, while no other runs', () => {
    const unseen = new Unseen()
    unseen.command(command('a', 'end', 0), false)
    unseen.command(command('b', 'end'), false)
    const well = { failed: false, words: 'Command ended' }
    expect([...unseen.ended.values()]).toEqual([well, well])
    unseen.command(command('a', 'start'), false)
    expect(unseen.ended.has('a')).toBe(false)
  })

  it('is told by the list what ended, or began, while the link was down', () => {
    const unseen = new Unseen()
    const list = (command?: Tab['command']) => [{ tab: 'a', command }] as Tab[]
    unseen.missed(list({ id: 1, ended: true, exit_code: 1 }), null)
    expect(unseen.ended.size).toBe(0) // nobody knows whether it was seen before this page
    unseen.command({ ...command('a', 'start'), id: 2 }, false)
    unseen.missed(list({ id: 2, ended: true, exit_code: 2 }), null)
    expect(unseen.ended.get('a')?.words).toBe('Command ended with code 2')
    unseen.missed(list({ id: 3 }), null)
    expect(unseen.ended.size).toBe(0)
    unseen.missed(list({ id: 3, ended: true }), 'a')
    expect(unseen.ended.size).toBe(0) // it was shown
    unseen.missed(list({ id: 3, ended: true }), null)
    expect(unseen.ended.size).toBe(0) // and is no news
    unseen.missed(list({ id: 9, ended: true }), null)
    expect(unseen.ended.get('a')?.words).toBe('Command ended')
    unseen.missed(list(), null) // another shell
    expect(unseen.ended.size).toBe(0)
  })
})
