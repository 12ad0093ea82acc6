// Times, modes and the state of backups in words.
import { size, span } from '$lib/state/class-words'
import { baseOf, HOME, shownText } from './names'
import type { BackupState, HomeTemplate, Restore } from './types'

const DAY_S = 86_400

/** How long ago, shortly: "12 s ago". What lies ahead, as by another clock, is now. */
export function ago(iso: string, now: number): string {
  const at = Date.parse(iso)
  if (Number.isNaN(at)) return 'at an unknown time'
  const s = Math.max(0, Math.floor((now - at) / 1000))
  if (s < 2) return 'just now'
  if (s < 60) return `${s} s ago`
  if (s < 3600) return `${Math.floor(s / 60)} min ago`
  if (s < DAY_S) return `${Math.floor(s / 3600)} h ago`
  const days = Math.round((startOfDay(now) - startOfDay(at)) / (DAY_S * 1000))
  if (days <= 1) return 'yesterday'
  return days < 60 ? `${days} days ago` : new Date(at).toLocaleDateString(undefined, { dateStyle: 'medium' })
}

function startOfDay(at: number): number {
  return new Date(at).setHours(0, 0, 0, 0)
}

/** A file's time as a list shows it: the clock today, the day this year, else the date. */
export function listTime(iso: string, now: number): string {
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return ''
  if (startOfDay(at.getTime()) === startOfDay(now)) return at.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })
  if (at.getFullYear() === new Date(now).getFullYear()) return at.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })
  return at.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' })
}

/** To the second, for a tooltip. */
export function exactTime(iso: string): string {
  const at = new Date(iso)
  return Number.isNaN(at.getTime()) ? 'Unknown time' : at.toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'medium' })
}

/** The heading of a day in the time line. */
export function dayWords(iso: string, now: number): string {
  const at = new Date(iso)
  const days = Math.round((startOfDay(now) - startOfDay(at.getTime())) / (DAY_S * 1000))
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  return at.toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' })
}

/** To the byte, for a tooltip. */
export function exactSize(bytes: number): string {
  return `${bytes.toLocaleString('en')} ${bytes === 1 ? 'byte' : 'bytes'}`
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`
}

/** Names in a sentence, the first few of them. */
export function listed(names: readonly string[], most = 4): string {
  if (names.length > most) return `${names.slice(0, most).join(', ')} and ${count(names.length - most, 'other')}`
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)!}`
}

/** Permission bits as ls writes them. */
export function modeWords(mode: number): string {
  const bit = (at: number, letter: string) => ((mode >> at) & 1 ? letter : '-')
  const execute = (at: number, special: number, letter: string) => {
    if (!((mode >> special) & 1)) return bit(at, 'x')
    return (mode >> at) & 1 ? letter : letter.toUpperCase()
  }
  return [
    bit(8, 'r') + bit(7, 'w') + execute(6, 11, 's'),
    bit(5, 'r') + bit(4, 'w') + execute(3, 10, 's'),
    bit(2, 'r') + bit(1, 'w') + execute(0, 9, 't'),
  ].join('')
}

export interface Safety {
  tone: 'good' | 'waiting' | 'bad' | 'dark'
  /** For the bar. */
  text: string
  /** Where there is little room. */
  short: string
  /** What there is to say besides, a sentence each. */
  more: string[]
}

const BUSY: Record<string, [string, string]> = {
  snapshot: ['Backing up', 'A snapshot is being made.'],
  verify: ['Verifying', 'A snapshot is being read back.'],
  prune: ['Tidying up', 'Old snapshots are being thinned out.'],
  scrub: ['Checking', 'The whole repository is being checked.'],
  restore: ['Restoring', 'Files are being restored.'],
}

/** How far what goes on has come, in percent; null: not known. */
export function progressOf({ done_bytes: done = 0, total_bytes: total = 0 }: { done_bytes?: number; total_bytes?: number }): number | null {
  return total > 0 ? Math.min(100, Math.floor((done / total) * 100)) : null
}

/** How safe the home is, in words. */
export function safety(state: BackupState, now: number): Safety {
  if (!state.on) {
    const why = state.off || 'Snapshots are not made on this server.'
    return { tone: 'bad', text: 'Backups are off', short: 'Off', more: [why] }
  }
  const lost = failedFiles(state)
  const more = [pendingSentence(state.pending_files, lost)]
  const busy = state.busy ? BUSY[state.busy] : undefined
  if (busy) more.unshift(busy[1])
  if (state.verified_at) more.push(`The repository was last verified ${ago(state.verified_at, now)}.`)
  else more.push('The repository was not verified as a whole yet.')
  if (state.place) more.push(`Snapshots go to ${state.place}.`)
  const pending = state.pending_files > 0 ? ` · ${count(state.pending_files, 'file')} pending` : ''
  if (state.trouble) {
    const again = state.retry_at ? ` It is tried again ${ahead(state.retry_at, now)}.` : ''
    const safe = state.safe_at ? `Safe ${ago(state.safe_at, now)}` : 'Nothing is safe yet'
    return { tone: 'bad', text: `${safe} · backup trouble`, short: 'Trouble', more: [state.trouble + again, ...more] }
  }
  if (busy && state.busy !== 'scrub' && state.busy !== 'prune') {
    const percent = progressOf(state)
    const text = `${busy[0]}${percent === null ? '' : ` ${percent}%`}`
    const safe = state.safe_at ? ` · safe ${ago(state.safe_at, now)}` : ''
    return { tone: 'waiting', text: text + safe + pending, short: text, more }
  }
  if (!state.safe_at) return { tone: 'waiting', text: `Not safe yet${pending}`, short: 'Not safe yet', more }
  if (lost > 0) {
    return { tone: 'waiting', text: `Safe ${ago(state.safe_at, now)} but ${count(lost, 'file')}${pending}`, short: 'Not all safe', more }
  }
  return { tone: 'good', text: `Safe ${ago(state.safe_at, now)}${pending}`, short: 'Safe', more }
}

/** How many files the last snapshot should hold and does not, or not as they were at one moment. */
export function failedFiles({ left_out: all }: Pick<BackupState, 'left_out'>): number {
  return all.reduce((sum, { failed, files }) => (failed ? sum + Math.max(1, files) : sum), 0)
}

function pendingSentence(pending: number, lost: number): string {
  const but = lost > 0 ? ` ${count(lost, 'file')} could not be backed up as ${lost === 1 ? 'it is' : 'they are'}: see below.` : ''
  if (pending < 0) return `How many files changed since is not known yet.${but}`
  if (pending === 0) return lost > 0 ? `Every other change is in a verified snapshot.${but}` : 'Every change is in a verified snapshot.'
  return `${count(pending, 'file')} changed since.${but}`
}

/** What snapshots do not hold, in sum. */
export function leftWords({ left_out: all }: Pick<BackupState, 'left_out'>): string {
  const files = all.reduce((sum, left) => sum + left.files, 0)
  const bytes = all.reduce((sum, left) => sum + left.bytes, 0)
  const failed = failedFiles({ left_out: all })
  return `Not in snapshots: ${count(files, 'file')}, ${size(bytes)}${failed > 0 ? `; ${count(failed, 'file')} by no rule` : ''}`
}

/** What became of a restore. */
export function restoreWords(r: Restore, now: number): { text: string; bad: boolean } {
  const what = r.request.path === HOME ? 'The home' : shownText(baseOf(r.request.path))
  const from = ago(r.started_at, now)
  const trouble = r.trouble ? ` ${r.trouble}` : ''
  switch (r.state) {
    case 'running':
      return { text: `${what} is being restored: ${size(r.done_bytes)}${r.total_bytes ? ` of ${size(r.total_bytes)}` : ''}`, bad: false }
    case 'failed':
      return { text: `${what} was not restored, ${from}:${trouble}`, bad: true }
    case 'undone':
      if (r.undo || trouble) return { text: `The restore of ${what} was undone in part only.${trouble}`, bad: true }
      return { text: `The restore of ${what} was undone.`, bad: false }
    case 'done':
      return { text: `${what} was restored ${r.into ? `as ${shownText(r.into)}` : 'in its place'}, ${from}${trouble && `.${trouble}`}`, bad: trouble !== '' }
  }
}

export interface FirstFilesWords {
  text: string
  /** How far it has come; empty: not known. */
  far: string
  bad: boolean
}

/** What there is to say of the files that the home begins with; null: nothing. */
export function firstFilesWords(t: HomeTemplate): FirstFilesWords | null {
  if (t.state === 'pending') {
    return { text: 'Fetching your home\u2019s first files…', far: t.fetched_bytes ? size(t.fetched_bytes) : '', bad: false }
  }
  if (t.state !== 'failed') return null
  const from = t.source ? ` from ${t.source}` : ''
  const text = `Your home\u2019s first files did not come${from}. ${t.trouble ?? ''} Your home works without them; they are not fetched again.`
  return { text: text.replace('  ', ' '), far: '', bad: true }
}

/** When it comes: "in 40 s". */
export function ahead(iso: string, now: number): string {
  const s = Math.ceil((Date.parse(iso) - now) / 1000)
  if (Number.isNaN(s) || s <= 1) return 'now'
  return s < 60 ? `in ${s} s` : `in ${span(Math.round(s / 60) * 60)}`
}

export { size }
