import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Toasts } from '../src/lib/state/toasts.svelte'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const undo = { label: 'Undo', run: () => {} }
const texts = (toasts: Toasts) => toasts.list.map(({ text }) => text).join()

describe("a program's notice", () => {
  it('has one place for each tab, in which the last one stands', () => {
    const toasts = new Toasts()
    toasts.program('a', 'main', '1')
    toasts.program('b', 'sh-2', '2')
    const { id } = toasts.list[0]!
    vi.advanceTimersByTime(6000)
    toasts.program('a', 'build', '3')
    expect(toasts.list[0]).toMatchObject({ id, kind: 'program', text: '3', from: { tab: 'a', name: 'build' } })
    vi.advanceTimersByTime(6000)
    expect(texts(toasts)).toBe('3')
    vi.advanceTimersByTime(1000)
    expect(texts(toasts)).toBe('')
  })

  it('pushes out no error and nothing that can be undone', () => {
    const toasts = new Toasts()
    toasts.problem('error')
    toasts.done('gone', undo)
    toasts.done('fine')
    for (let n = 0; n < 50; n++) toasts.program(`tab${n % 5}`, 'sh', `${n}`)
    expect(texts(toasts)).toBe('error,gone,49')
    toasts.done('moved', undo)
    toasts.program('x', 'sh', 'loud')
    expect(texts(toasts)).toBe('error,gone,moved,loud')
  })
})

describe('too many', () => {
  it('first lose what is only said', () => {
    const toasts = new Toasts()
    toasts.done('fine')
    toasts.program('a', 'sh', 'loud')
    toasts.problem('error')
    toasts.done('gone', undo)
    expect(texts(toasts)).toBe('loud,error,gone')
    toasts.problem('worse')
    expect(texts(toasts)).toBe('error,gone,worse')
    toasts.done('fine')
    toasts.done('well')
    expect(texts(toasts)).toBe('error,gone,worse,well')
  })

  it('lose an error for an error only, and an offer for an offer only', () => {
    const toasts = new Toasts()
    toasts.done('u1', undo)
    toasts.problem('e1')
    toasts.problem('e2')
    toasts.problem('e3')
    expect(texts(toasts)).toBe('u1,e2,e3')
    toasts.done('u2', undo)
    expect(texts(toasts)).toBe('e2,e3,u2')
  })
})

describe('time', () => {
  it('passes while somebody can see the page', () => {
    const toasts = new Toasts()
    toasts.done('before')
    vi.advanceTimersByTime(6000)
    toasts.visible = false
    toasts.problem('meanwhile')
    toasts.program('a', 'sh', 'meanwhile')
    vi.advanceTimersByTime(3_600_000)
    expect(toasts.list).toHaveLength(3)
    toasts.visible = true
    toasts.visible = true
    vi.advanceTimersByTime(1000)
    expect(texts(toasts)).toBe('meanwhile,meanwhile')
    vi.advanceTimersByTime(6000)
    expect(toasts.list).toEqual([])
  })

  it('is longer for what can be undone, and ends at once by hand', () => {
    const toasts = new Toasts()
    toasts.done('gone', undo)
    toasts.done('moved', undo)
    toasts.dismiss(toasts.list[1]!.id)
    vi.advanceTimersByTime(14_999)
    expect(texts(toasts)).toBe('gone')
    vi.advanceTimersByTime(1)
    expect(toasts.list).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})

it('says the same sentence once', () => {
  const toasts = new Toasts()
  toasts.program('a', 'sh', 'same')
  toasts.problem('same')
  toasts.problem('same')
  expect(toasts.list.map(({ kind }) => kind)).toEqual(['program', 'problem'])
})
