// What a session's class, network and sleep are, in words a person reads.
import type { SessionClass } from '$lib/api/types'

type Limits = SessionClass['limits']

/** A size as people say it, in powers of 1024: "1.5 GB". */
export function size(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024
    unit++
  }
  const rounded = unit === 0 || bytes >= 100 ? Math.round(bytes) : Math.round(bytes * 10) / 10
  return `${rounded} ${rounded === 1 && unit === 0 ? 'byte' : units[unit]}`
}

/** A span of time in its one or two largest units: "1 hour 30 minutes". */
export function span(seconds: number): string {
  const parts: string[] = []
  let rest = Math.round(seconds)
  for (const [name, length] of [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
  ] as const) {
    const n = Math.floor(rest / length)
    if (n === 0 && parts.length === 0) continue
    if (n > 0) parts.push(`${n} ${name}${n === 1 ? '' : 's'}`)
    rest -= n * length
    if (parts.length === 2 || (parts.length === 1 && n === 0)) break
  }
  return parts.join(' ') || '0 seconds'
}

function cores(limits: Limits): string {
  if (limits.cpu === 0) return 'all cores'
  return `${limits.cpu} ${limits.cpu === 1 ? 'core' : 'cores'}`
}

const NETWORK: Record<string, string> = { none: 'no network', internet: 'internet', 'allow-list': 'listed hosts only' }

/** A class in one short line. Where nothing isolates, nothing bounds. */
export function factsOf(c: SessionClass): string {
  if (!c.isolated) return 'the machine\u2019s memory · all cores · the machine\u2019s network'
  const memory = c.limits.memory ? `${size(c.limits.memory)} memory` : 'memory without a limit'
  return [memory, cores(c.limits), NETWORK[c.network.mode] ?? c.network.mode, ...(c.sudo ? ['sudo'] : [])].join(' · ')
}

/** How far its sessions reach. */
export function networkSentence({ network: { mode, allow }, isolated }: Pick<SessionClass, 'network' | 'isolated'>): string {
  if (!isolated) return 'The machine\u2019s own. Nothing is out of reach that the server reaches, and nothing is refused.'
  const hosts = allow.join(', ')
  if (mode === 'internet') {
    const also = hosts ? ` Besides: ${hosts}.` : ''
    return `Public addresses on the internet. Private networks, this server and other sessions are out of reach.${also}`
  }
  if (mode === 'allow-list') return hosts ? `Only ${hosts}. Everything else is refused.` : 'Nothing is on its list: everything is refused.'
  return 'None: nothing in it reaches further than its own loopback.'
}

/** When its sessions go to sleep by themselves. */
export function idleSentence({ freeze_s, stop_s }: SessionClass['idle']): string {
  if (!freeze_s) return 'Never sleeps by itself.'
  const frozen = `Frozen after ${span(freeze_s)} without use; it wakes at once, with its shells.`
  return stop_s ? `${frozen} Stopped after ${span(stop_s)} asleep.` : frozen
}

/** Everything a class bounds, as name and value: nothing where nothing isolates. */
export function limitRows(c: SessionClass): Array<[string, string]> {
  if (!c.isolated) return []
  const l = c.limits
  const or = (n: number, say: (n: number) => string) => (n ? say(n) : 'no limit')
  const count = (n: number) => or(n, (n) => n.toLocaleString('en'))
  const share = (n: number) => (n === 0 || n === 100 ? '' : `, share ${n} against the usual 100`)
  return [
    ['Memory', or(l.memory, size)],
    ['Processor', cores(l) + share(l.cpu_weight)],
    ['Disk', `home ${or(c.disk, size)}, /tmp ${or(l.scratch, size)}${share(l.io_weight)}`],
    ['Processes', count(l.pids)],
    ['Open files', `${count(l.files)} in a process`],
    ['Terminals', count(l.ptys)],
    ['File watches', count(l.inotify)],
  ]
}

/** Where its programs come from. Its boundary says who they may become. */
export function baseSentence({ base, isolated }: SessionClass): string {
  if (!isolated) return 'The programs of the server. No limit holds them.'
  if (base === 'host') return 'The programs of the server, read-only.'
  return `The image ${base}, below a layer that ends with the sandbox; only the home lasts.`
}

export const NO_ISOLATION =
  'Its programs are processes of the server\u2019s own machine: they see its files, processes and network, and nothing holds them. ' +
  'Use it only for code that you trust.'

/** A moment in the person's own clock: the time alone when it is today. */
export function moment(iso: string, now = new Date()): string {
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return 'an unknown time'
  const time = at.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })
  if (at.toDateString() === now.toDateString()) return time
  return `${at.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })}, ${time}`
}
