import { describe, expect, it } from 'vitest'
import { Rate, restWords } from '../src/lib/files/rate'
import { byDay } from '../src/lib/files/timeline'
import type { BackupState, Restore, Snapshot } from '../src/lib/files/types'
import { ago, ahead, leftWords, modeWords, progressOf, restoreWords, safety } from '../src/lib/files/words'

const now = new Date(2026, 5, 15, 12, 0, 0).getTime()
const before = (s: number) => new Date(now - s * 1000).toISOString()

describe('times', () => {
  it.each([
    [0, 'just now'],
    [-50, 'just now'],
    [12, '12 s ago'],
    [60, '1 min ago'],
    [3600, '1 h ago'],
    [86_400, 'yesterday'],
    [2 * 86_400, '2 days ago'],
  ])('%d s is %s', (s, words) => expect(ago(before(s), now)).toBe(words))
  it('that lie ahead', () => {
    expect(ahead(before(-40), now)).toBe('in 40 s')
    expect(ahead(before(-120), now)).toBe('in 2 minutes')
    expect(ahead(before(5), now)).toBe('now')
  })
})

describe('modes', () => {
  it.each([
    [0o644, 'rw-r--r--'],
    [0o755, 'rwxr-xr-x'],
    [0o4755, 'rwsr-xr-x'],
    [0o4644, 'rwSr--r--'],
    [0o2711, 'rwx--s--x'],
    [0o1777, 'rwxrwxrwt'],
    [0, '---------'],
  ])('%o is %s', (mode, words) => expect(modeWords(mode)).toBe(words))
})

describe('how safe the home is', () => {
  const state = (more: Partial<BackupState>): BackupState => ({ on: true, place: 'a folder', pending_files: 0, left_out: [], ...more })
  const say = (more: Partial<BackupState>) => {
    const { tone, text } = safety(state(more), now)
    return `${tone}: ${text}`
  }
  it('is said in a few words', () => {
    expect(say({ safe_at: before(12), pending_files: 3 })).toBe('good: Safe 12 s ago · 3 files pending')
    expect(say({ safe_at: before(12) })).toBe('good: Safe 12 s ago')
    expect(say({ pending_files: 1 })).toBe('waiting: Not safe yet · 1 file pending')
    expect(say({ on: false, off: 'No key.' })).toBe('bad: Backups are off')
    expect(say({ busy: 'snapshot', done_bytes: 40, total_bytes: 100 })).toBe('waiting: Backing up 40%')
    expect(say({ busy: 'verify', safe_at: before(70) })).toBe('waiting: Verifying · safe 1 min ago')
    expect(say({ busy: 'scrub', safe_at: before(70) })).toBe('good: Safe 1 min ago')
    expect(say({ safe_at: before(3600), trouble: 'The bucket is full.' })).toBe('bad: Safe 1 h ago · backup trouble')
    expect(say({ trouble: 'The bucket is full.' })).toBe('bad: Nothing is safe yet · backup trouble')
  })
  it('says why, and what is next', () => {
    const more = safety(state({ trouble: 'The bucket is full.', retry_at: before(-30) }), now).more
    expect(more[0]).toBe('The bucket is full. It is tried again in 30 s.')
    expect(safety(state({ on: false, off: 'No key.' }), now).more).toEqual(['No key.'])
    expect(safety(state({ pending_files: -1 }), now).more[0]).toBe('How many files changed since is not known yet.')
    expect(safety(state({ verified_at: before(86_400) }), now).more).toContain('The repository was last verified yesterday.')
  })
  it('does not say that all is safe while files cannot be read', () => {
    const left_out = [
      { rule: '.cache/*', why: 'Programs make their caches again.', bytes: 0, files: 2 },
      { rule: 'key', why: 'It could not be read: permission denied.', bytes: 0, files: 1, failed: true },
      { rule: '…', why: 'More files could not be read.', bytes: 0, files: 30, failed: true },
    ]
    expect(say({ safe_at: before(12), left_out })).toBe('waiting: Safe 12 s ago but 31 files')
    const { more } = safety(state({ safe_at: before(12), left_out }), now)
    expect(more[0]).toBe('Every other change is in a verified snapshot. 31 files could not be backed up as they are: see below.')
    expect(leftWords({ left_out })).toBe('Not in snapshots: 33 files, 0 bytes; 31 files by no rule')
    expect(say({ safe_at: before(12), left_out: left_out.slice(0, 1) })).toBe('good: Safe 12 s ago')
    expect(leftWords({ left_out: left_out.slice(0, 1) })).toBe('Not in snapshots: 2 files, 0 bytes')
  })
  it('knows how far it is', () => {
    expect(progressOf({})).toBe(null)
    expect(progressOf({ done_bytes: 999, total_bytes: 1000 })).toBe(99)
    expect(progressOf({ done_bytes: 2000, total_bytes: 1000 })).toBe(100)
  })
})

describe('a restore', () => {
  const say = (more: Partial<Restore>) =>
    restoreWords(
      {
        id: '1', snapshot: 's', request: { path: 'docs', where: 'in_place' }, state: 'done', started_at: before(60),
        done_bytes: 0, total_bytes: 0, undo: false, ...more,
      },
      now,
    )
  it('is not called undone when it is so in part only', () => {
    expect(say({ state: 'undone' })).toEqual({ text: 'The restore of docs was undone.', bad: false })
    expect(say({ state: 'undone', trouble: '2 could not be taken back.' })).toEqual({
      text: 'The restore of docs was undone in part only. 2 could not be taken back.',
      bad: true,
    })
  })
  it('says what went wrong, also when it is done', () => {
    expect(say({})).toEqual({ text: 'docs was restored in its place, 1 min ago', bad: false })
    expect(say({ trouble: '1 of 9 could not be put in place.' })).toEqual({
      text: 'docs was restored in its place, 1 min ago. 1 of 9 could not be put in place.',
      bad: true,
    })
    expect(say({ state: 'failed', trouble: 'No room.' }).text).toBe('docs was not restored, 1 min ago: No room.')
  })
})

describe('the time line', () => {
  it('goes by days, newest first', () => {
    const made = (s: number) => ({ id: `${s}`, at: before(s) }) as Snapshot
    const days = byDay([made(86_400), made(10), made(5)], now)
    expect(days.map(({ day, snapshots }) => [day, snapshots.map(({ id }) => id)])).toEqual([
      ['Today', ['5', '10']],
      ['Yesterday', ['86400']],
    ])
  })
})

describe('the rate', () => {
  it('is that of the last seconds', () => {
    const rate = new Rate()
    expect(rate.perSecond(0)).toBe(0)
    for (let s = 0; s <= 20; s++) rate.take(s * 1000, s < 10 ? s * 100 : 1000 + (s - 10) * 1000)
    expect(rate.perSecond(20_000)).toBeCloseTo(1000, -2)
  })
  it('falls while nothing comes', () => {
    const rate = new Rate()
    rate.take(0, 0)
    rate.take(1000, 1000)
    expect(rate.perSecond(4000)).toBe(250)
  })
  it('begins anew when the count goes back', () => {
    const rate = new Rate()
    rate.take(0, 5000)
    rate.take(1000, 100)
    expect(rate.perSecond(1000)).toBe(0)
  })
  it('tells the rest', () => {
    expect(restWords(1000, 100)).toBe('10 s left')
    expect(restWords(100_000, 1000)).toBe('1 min 40 s left')
    expect(restWords(0, 100)).toBe('')
    expect(restWords(1000, 0)).toBe('')
  })
})
