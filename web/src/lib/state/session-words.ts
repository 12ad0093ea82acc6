// What a session is doing, in words a person reads.
import type { Session } from '$lib/api/types'
import { sentence } from '$lib/terminal/verdict'
import { moment } from './class-words'

export const STOPPED = 'Its shells have ended; your files are kept.'
export const FROZEN = 'Its shells wait as they are; it wakes at once.'

/** What it does, and why. */
export function stateWords(s: Session, now = new Date()): { title: string; why: string } {
  switch (s.state) {
    case 'running':
      return { title: 'Running', why: sentence(s.why_awake) }
    case 'starting':
      return { title: 'Starting', why: 'Its sandbox is being made ready.' }
    case 'failed':
      return { title: 'Failed', why: sentence(s.reason ?? '') }
    case 'asleep': {
      const since = s.asleep_since ? ` since ${moment(s.asleep_since, now)}` : ''
      return { title: `${s.frozen ? 'Frozen' : 'Asleep'}${since}`, why: sleepWords(s.reason ?? '', s.frozen) }
    }
  }
}

/** Why it sleeps, and what a wake will find. */
export function sleepWords(reason: string, frozen: boolean | undefined): string {
  const found = frozen ? FROZEN : STOPPED
  return reason ? `${sentence(reason)} ${found}` : found
}

/** Whether a notice can be taken down: that the class is gone stays true. */
export function dismissable({ code }: { code: string }): boolean {
  return code !== 'class_gone'
}
