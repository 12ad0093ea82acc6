import { expect, it, vi } from 'vitest'
import { Connection } from '../src/lib/terminal/connection'
import { CONTROL, split } from '../src/lib/terminal/wire'
import { FakeGuest } from './fake-guest'
import { Wire } from './network'

it('says a size that changed while the answer to attach was on its way, whatever size the missing bytes have', () => {
  vi.useFakeTimers()
  const guest = new FakeGuest()
  const tab = guest.add('main').id
  let wire: Wire | undefined
  const nothing = () => {}
  const connection = new Connection({
    dial: () => (wire = new Wire(guest)),
    explain: () => Promise.resolve({ kind: 'retry', why: 'test', pace: 'normal' }),
    client: 'client_0123456789',
    visible: () => true,
    online: () => true,
    size: { cols: 80, rows: 24 },
    sink: () => ({ write: nothing, present: nothing, reset: nothing, redraw: nothing, resize: nothing }),
    onState: nothing,
    onWelcome: nothing,
    onTabs: nothing,
    onStream: nothing,
    onGone: nothing,
    onLost: nothing,
    onOpened: nothing,
    onNotOpened: nothing,
    onProblem: nothing,
  })
  connection.link.connect()
  wire!.open()
  wire!.deliverUp()
  wire!.deliverDown()
  connection.watch(tab)
  const said = () =>
    wire!.up
      .map(split)
      .filter(({ channel }) => channel === CONTROL)
      .map(({ payload }) => JSON.parse(new TextDecoder().decode(payload)))
  const attach = said().find(({ type }) => type === 'attach')
  connection.resize({ cols: 100, rows: 30 })
  wire!.server.say({ ...attach, type: 'attached', channel: 0, epoch: 'e', offset: 0, mode: 'resume', snapshot_bytes: 0, cols: 100, rows: 30, input_offset: 0, head: 9 })
  wire!.deliverDown()
  expect(said().filter(({ type }) => type === 'resize')).toEqual([{ type: 'resize', channel: 0, cols: 100, rows: 30 }])
  connection.link.stop()
  vi.useRealTimers()
})
