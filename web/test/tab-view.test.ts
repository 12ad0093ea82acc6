import { expect, it } from 'vitest'
import type { Screen } from '../src/lib/terminal/screen.svelte'
import { Stream } from '../src/lib/terminal/stream'
import { TabView } from '../src/lib/terminal/tab-view.svelte'
import type { Attached } from '../src/lib/terminal/wire'

it('has the size that the server says from the first attach to the end of the shell, also while the link is down', () => {
  const sink = { write: () => {}, present: () => {}, reset: () => {}, redraw: () => {}, resize: () => {} }
  const stream = new Stream('t', sink, { send: () => true, sendBytes: () => true })
  const view = new TabView('t', {} as Screen, false)
  const sized = () => {
    view.follow(stream)
    return view.sized
  }
  const attached = { type: 'attached', tab: 't', channel: 0, epoch: 'e', offset: 0, mode: 'resume', snapshot_bytes: 0, input_offset: 0, head: 0 }
  const attach = (epoch: string) => stream.attached({ ...attached, req: 1, cols: 80, rows: 24, epoch } as Attached)
  expect(sized()).toBe(false)
  attach('e')
  expect(sized()).toBe(true)
  stream.down()
  expect(sized()).toBe(true)
  attach('e')
  stream.channel = null
  stream.ended = { code: 0 }
  expect(sized()).toBe(false)
  attach('e') // what the shell left behind comes at the server's size once more, before its end does
  expect(sized()).toBe(true)
  stream.channel = null
  expect(sized()).toBe(false)
  stream.down()
  expect(sized()).toBe(false)
  attach('f')
  expect(sized()).toBe(true)
})
