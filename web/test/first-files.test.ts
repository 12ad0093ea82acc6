import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '../src/lib/api/client'
import { FirstFiles } from '../src/lib/files/first-files.svelte'
import type { HomeTemplate } from '../src/lib/files/types'
import { firstFilesWords } from '../src/lib/files/words'

const template = (state: HomeTemplate['state'], more: Partial<HomeTemplate> = {}): HomeTemplate => ({ state, files: 0, kept: 0, at: 'then', ...more })
const failed = template('failed', { source: 'begin.tar', trouble: 'It is not there.' })

describe('the words for the first files', () => {
  it('are there while they are fetched, with how far it is where that is known', () => {
    expect(firstFilesWords(template('pending'))).toEqual({ text: 'Fetching your home’s first files…', far: '', bad: false })
    expect(firstFilesWords(template('pending', { fetched_bytes: 5 << 20 }))!.far).toBe('5 MB')
  })
  it('say why they did not come', () => {
    const text = 'Your home’s first files did not come from begin.tar. It is not there. Your home works without them; they are not fetched again.'
    expect(firstFilesWords(failed)).toEqual({ text, far: '', bad: true })
    expect(firstFilesWords(template('failed'))!.text).toMatch(/did not come\. Your home works/)
  })
  it('are none where all is well', () => {
    expect(firstFilesWords(template('none'))).toBeNull()
    expect(firstFilesWords(template('done', { files: 3 }))).toBeNull()
  })
})

describe('the first files', () => {
  const kept = new Map<string, string>()
  beforeEach(() => {
    kept.clear()
    vi.useFakeTimers()
    vi.stubGlobal('localStorage', { getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => kept.set(k, v) })
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  /** A server that answers what is first in the list, and the last again and again. */
  function begin(...answers: Array<HomeTemplate | Problem>) {
    let asked = 0
    const ask = () => {
      const answer = answers[Math.min(asked++, answers.length - 1)]!
      return answer instanceof Problem ? Promise.reject(answer) : Promise.resolve(answer)
    }
    return { first: new FirstFiles('ada', ask), asked: () => asked }
  }
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

  it('are asked about for as long as they are on their way, also past a server that is away', async () => {
    const { first, asked } = begin(template('pending'), new Problem(0, 'unreachable', ''), template('pending'), template('done'))
    first.start()
    await pass(0)
    expect(first.words?.bad).toBe(false)
    await pass(2000)
    expect(first.words?.bad).toBe(false)
    await pass(4000)
    expect([asked(), first.words]).toEqual([4, null])
    await pass(60_000)
    expect(asked()).toBe(4)
  })

  it('are asked about until the server says something, less and less often', async () => {
    const away = new Problem(0, 'unreachable', '')
    const { first, asked } = begin(away, away, away, failed)
    first.start()
    await pass(2000 + 4000)
    expect([asked(), first.words]).toEqual([3, null])
    await pass(8000)
    expect(first.words?.bad).toBe(true)
    await pass(600_000)
    expect(asked()).toBe(4)
  })

  it('are not asked about while nobody looks', async () => {
    const { first, asked } = begin(template('pending'))
    first.start()
    await pass(0)
    first.stop()
    await pass(60_000)
    expect(asked()).toBe(1)
    first.start()
    await pass(2000)
    expect(asked()).toBe(3)
    first.stop()
  })

  it('that did not come are told until that is dismissed, for good, and of this person alone', async () => {
    const { first } = begin(failed)
    first.start()
    await pass(0)
    expect(first.words?.bad).toBe(true)
    first.dismiss()
    expect(first.words).toBeNull()
    const next = begin(failed).first
    next.start()
    await pass(0)
    expect(next.words).toBeNull()
    const bob = new FirstFiles('bob', () => Promise.resolve(failed))
    bob.start()
    await pass(0)
    expect(bob.words?.bad).toBe(true)
  })
})
