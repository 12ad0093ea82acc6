import { expect, it } from 'vitest'
import { Output } from '../src/lib/terminal/output'
import type { Attached } from '../src/lib/terminal/wire'

function begin() {
  const log: string[] = []
  const output = new Output(
    {
      write: (bytes, past) => log.push(`${past ? 'past' : 'new'} ${bytes.length}`),
      present: () => log.at(-1) !== 'present' && log.push('present'),
      reset: () => {},
      redraw: () => {},
      resize: () => {},
    },
    () => {},
  )
  const attach = (more: Partial<Attached>) =>
    output.attached({
      type: 'attached',
      req: 1,
      tab: 't',
      channel: 0,
      epoch: 'e',
      offset: 0,
      mode: 'resume',
      snapshot_bytes: 0,
      cols: 80,
      rows: 24,
      input_offset: 0,
      head: 0,
      ...more,
    })
  return { output, log, attach, data: (n: number) => output.data(new Uint8Array(n)) }
}

it('is in the present when all before the head and the redraw are drawn, though nothing follows', () => {
  const { log, attach, data } = begin()
  attach({ mode: 'snapshot', offset: 100, snapshot_bytes: 7, head: 110 })
  data(5)
  data(4)
  expect(log).toEqual(['past 5', 'past 2', 'past 2'])
  data(8)
  expect(log.slice(3)).toEqual(['past 8', 'present'])
})

it('is in the present when the redraw alone is drawn', () => {
  const { log, attach, data } = begin()
  attach({ mode: 'snapshot', offset: 100, snapshot_bytes: 7, head: 100 })
  expect(log).toEqual([])
  data(7)
  expect(log).toEqual(['past 7', 'present'])
})

it('is in the present at once when there is nothing to draw', () => {
  const { log, attach, data } = begin()
  attach({})
  expect(log).toEqual(['present'])
  data(3)
  attach({ offset: 3, head: 3 })
  expect(log).toEqual(['present', 'new 3', 'present'])
  attach({ offset: 3, head: 5 })
  data(3)
  expect(log.slice(3)).toEqual(['past 2', 'new 1', 'present'])
})

it('is in the past again for a redraw in between', () => {
  const { output, log, attach, data } = begin()
  attach({})
  output.resync(50, 4)
  data(6)
  expect(log).toEqual(['present', 'past 4', 'new 2', 'present'])
})
