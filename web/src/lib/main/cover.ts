import { sleepWords } from '$lib/state/session-words'
import type { Gate } from '$lib/state/open-session.svelte'
import type { LinkState } from '$lib/terminal/link'

export type Act = 'wake' | 'retry' | 'here' | 'home' | 'new-tab'

/** What stands between a person and the shell: what, why, and what can be done about it. */
export interface CoverWords {
  title: string
  why?: string
  /** It passes by itself, and what is typed meanwhile is kept. */
  busy?: boolean
  acts?: Array<[Act, string]>
}

export interface Situation {
  name: string
  gate: Gate
  link: LinkState
  /** It sleeps in memory, with its shells. */
  frozen?: boolean
  /** The session has no tab to show. */
  empty: boolean
  /** A shell was asked for and is not there yet. */
  opening: boolean
}

/** Null while there is a terminal to work in, connected or not: a dropped link alone covers nothing. */
export function coverOf({ name, gate, link, frozen, empty, opening }: Situation): CoverWords | null {
  switch (gate.kind) {
    case 'asking':
      return { title: `Finding ${name}`, busy: true }
    case 'starting':
      return { title: `${name} is starting`, why: 'Your sandbox is being made ready.', busy: true }
    case 'asleep':
      return asleep(name, gate.why, frozen)
    case 'failed':
      return { title: `${name} did not start`, why: gate.why, acts: [['wake', 'Try again']] }
    case 'gone':
      return gone(name, gate.why)
    case 'unreachable':
      return { title: 'The server does not answer', why: gate.why, acts: [['retry', 'Try again']] }
    case 'login':
      return null
  }
  switch (link.kind) {
    case 'asleep':
      return asleep(name, link.why, frozen)
    case 'gone':
      return gone(name, link.why)
    case 'replaced':
      return {
        title: 'Used elsewhere',
        why: 'Another connection took this page\u2019s place. Its shells go on there.',
        acts: [['here', 'Use it here']],
      }
    case 'stopped':
      return { title: 'Disconnected', why: link.why, acts: [['retry', 'Try again'], ['home', 'Other sessions']] }
    case 'connecting':
      return link.again ? null : { title: 'Connecting', busy: true }
    case 'open':
      if (!empty) return null
      if (opening) return { title: 'Opening a shell', busy: true }
      return { title: 'No shell is open', why: 'The session itself is still running.', acts: [['new-tab', 'New tab']] }
    default:
      return null
  }
}

function asleep(name: string, why: string, frozen?: boolean): CoverWords {
  return { title: `${name} is asleep`, why: sleepWords(why, frozen), acts: [['wake', 'Wake it']] }
}

function gone(name: string, why: string): CoverWords {
  return { title: `There is no session ${name}`, why, acts: [['home', 'Go to your sessions']] }
}
