import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fromInput } from '../src/lib/files/gather'
import { matched, worthRetrying } from '../src/lib/files/tus'
import { UploadNotice } from '../src/lib/files/upload-notice'
import { Uploads } from '../src/lib/files/uploads.svelte'
import type { SendEvents } from '../src/lib/files/uploads.svelte'

interface Sent {
  path: string
  replace: boolean
  events: SendEvents
  log: string[]
  /** When cancelling is done. */
  cancelled: Promise<void>
}

const given = (...paths: string[]) => ({ files: paths.map((path) => ({ path, file: new File(['12345'], path) })), folders: [] })
const conflict = { conflict: true, sentence: '' }

function begin() {
  const sent: Sent[] = []
  const arrived: string[] = []
  const uploads = new Uploads(
    ({ path, replace }, events) => {
      const one: Sent = { path, replace, events, log: [], cancelled: Promise.resolve() }
      sent.push(one)
      return {
        pause: () => void one.log.push('pause'),
        resume: () => void one.log.push('resume'),
        cancel: () => {
          one.log.push('cancel')
          return one.cancelled
        },
      }
    },
    () => Promise.resolve(),
  )
  uploads.onarrived = (path) => arrived.push(path)
  const states = () => uploads.list.map(({ state }) => state).join()
  return { uploads, sent, arrived, states }
}

describe('uploads', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('go three at a time', () => {
    const { uploads, sent, arrived, states } = begin()
    uploads.add(given('a', 'b', 'c', 'd'))
    expect(states()).toBe('sending,sending,sending,waiting')
    sent[1]!.events.onProgress(5)
    sent[1]!.events.onDone()
    expect(states()).toBe('sending,done,sending,sending')
    expect(arrived).toEqual(['b'])
    expect([uploads.sent, uploads.total, uploads.left]).toEqual([5, 20, 3])
    uploads.cancelAll()
  })

  it('are paused, and go on', () => {
    const { uploads, sent, states } = begin()
    uploads.add(given('a', 'b'))
    uploads.pauseAll()
    expect(states()).toBe('paused,paused')
    uploads.add(given('c'))
    expect(states()).toBe('paused,paused,waiting')
    uploads.resumeAll()
    expect(states()).toBe('sending,sending,sending')
    expect(sent.map(({ log }) => log.join())).toEqual(['pause,resume', 'pause,resume', ''])
    uploads.pause(uploads.list[0]!)
    expect(states()).toBe('paused,sending,sending')
    uploads.cancelAll()
    expect(sent[0]!.log).toContain('cancel')
    expect(states()).toBe('cancelled,cancelled,cancelled')
    uploads.clear()
    expect(uploads.list).toEqual([])
  })

  it('throw away what was sent under a name that was taken, before they are sent again', async () => {
    const { uploads, sent, states } = begin()
    uploads.add(given('a', 'b', 'c'))
    let gone!: () => void
    sent[0]!.cancelled = new Promise((resolve) => (gone = resolve))
    sent[0]!.events.onRefused(conflict)
    expect(sent[0]!.log).toEqual(['cancel'])
    uploads.answer('both', false)
    expect(states()).toBe('sending,sending,sending')
    expect(sent.length).toBe(3)
    gone()
    await vi.waitFor(() => expect(sent[3]).toMatchObject({ path: 'a (2)' }))
    sent[1]!.events.onRefused(conflict)
    uploads.answer('skip', false)
    expect(sent[1]!.log).toEqual(['cancel'])
    uploads.cancelAll()
  })

  it('are told of while nobody sees them', () => {
    const { uploads, sent } = begin()
    const told: string[] = []
    const notice = new UploadNotice((text) => told.push(text))
    uploads.add(given('d/a', 'b', 'c'))
    notice.look(uploads, false)
    sent[0]!.events.onRefused({ conflict: false, sentence: 'The home is full.' })
    notice.look(uploads, false)
    notice.look(uploads, false)
    sent[1]!.events.onRefused({ conflict: false, sentence: 'The home is full.' })
    notice.look(uploads, false)
    expect(told.splice(0)).toEqual(['a was not uploaded: The home is full.'])
    sent[2]!.events.onRefused(conflict)
    notice.look(uploads, false)
    notice.look(uploads, false)
    expect(told.splice(0)).toEqual(['There is a c already: the upload waits for your answer.'])
    // What was seen in the drawer is not told when it closes, but the next is.
    notice.look(uploads, true)
    notice.look(uploads, false)
    expect(told).toEqual([])
    uploads.retry(uploads.list[0]!)
    notice.look(uploads, false)
    sent[0]!.events.onRefused({ conflict: false, sentence: 'Still full.' })
    notice.look(uploads, false)
    expect(told).toEqual(['a was not uploaded: Still full.'])
    uploads.cancelAll()
  })

  it('ask one question at a time, and once for all', async () => {
    const { uploads, sent, states } = begin()
    uploads.add(given('a', 'b', 'c'))
    sent[0]!.events.onRefused(conflict)
    sent[1]!.events.onRefused(conflict)
    expect(uploads.question?.path).toBe('a')
    uploads.answer('replace', false)
    expect(uploads.question?.path).toBe('b')
    await vi.waitFor(() => expect(sent[3]).toMatchObject({ path: 'a', replace: true }))
    uploads.answer('skip', true)
    expect(uploads.question).toBe(null)
    sent[2]!.events.onRefused(conflict)
    expect(states()).toBe('sending,skipped,skipped')
    uploads.cancelAll()
  })

  it('of another batch are asked about anew', () => {
    const { uploads, sent } = begin()
    uploads.add(given('a'))
    sent[0]!.events.onRefused(conflict)
    uploads.answer('skip', true)
    uploads.add(given('b'))
    sent[1]!.events.onRefused(conflict)
    expect(uploads.question?.path).toBe('b')
    uploads.cancelAll()
    expect(uploads.question).toBe(null)
  })

  it('keep both under the first name that is free', async () => {
    const { uploads, sent, arrived } = begin()
    uploads.add(given('d/plan.txt'))
    sent[0]!.events.onRefused(conflict)
    uploads.answer('both', false)
    await vi.waitFor(() => expect(sent[1]!.path).toBe('d/plan (2).txt'))
    sent[1]!.events.onRefused(conflict)
    await vi.waitFor(() => expect(sent[2]!.path).toBe('d/plan (3).txt'))
    sent[2]!.events.onDone()
    expect(arrived).toEqual(['d/plan (3).txt'])
  })

  it('say why they failed, and are tried again from there', () => {
    const { uploads, sent, states } = begin()
    uploads.add(given('a'))
    sent[0]!.events.onRefused({ conflict: false, sentence: 'The home is full.' })
    expect(uploads.list[0]!.problem).toBe('The home is full.')
    expect(uploads.failed).toBe(1)
    uploads.retry(uploads.list[0]!)
    expect(states()).toBe('sending')
    expect(sent[0]!.log).toEqual(['resume'])
    uploads.cancelAll()
  })

  it('tell how fast they are', () => {
    const { uploads, sent } = begin()
    uploads.add({ files: [{ path: 'a', file: new File([new Uint8Array(10_000)], 'a') }], folders: [] })
    for (let step = 1; step <= 4; step++) {
      sent[0]!.events.onProgress(step * 1000)
      vi.advanceTimersByTime(500)
    }
    expect(uploads.perSecond).toBeGreaterThan(1500)
    sent[0]!.events.onDone()
    expect(uploads.perSecond).toBe(0)
  })
})

describe('what is given', () => {
  it('has names as the server wants them', () => {
    const file = new File([''], '50%.txt')
    expect(fromInput([file], 'docs').files[0]!.path).toBe('docs/50%25.txt')
    const inFolder = Object.defineProperty(new File([''], 'x'), 'webkitRelativePath', { value: 'top/a b/x' })
    expect(fromInput([inFolder], '.').files[0]!.path).toBe('top/a b/x')
  })
  it('is known again after a reload', () => {
    const one = { key: '', url: '', path: 'd/50%25.txt', size: 5, modified: 7 }
    const name = (path: string) => path.replace('d/', '').replace('%25', '%')
    const same = { name: '50%.txt', size: 5, lastModified: 7 }
    const others = [{ ...same, size: 6 }, { ...same, lastModified: 8 }, { ...same, name: 'x' }]
    expect(matched([one], [...others, same], name)).toEqual({ files: [{ file: same, path: one.path }], others })
    // Two of the same name, size and time are two uploads.
    const two = { ...one, path: 'd/50%25.txt', key: '2' }
    expect(matched([one, two], [same, same, same], name)).toMatchObject({ files: [{}, {}], others: [same] })
  })
  it('is sent again when that can help', () => {
    expect([0, 423, 429, 500, 502, 503].every(worthRetrying)).toBe(true)
    expect([400, 401, 403, 404, 409, 413, 507].some(worthRetrying)).toBe(false)
  })
})
