// mux v1 as the page sees it: one byte of channel, then payload. The Go side is
// internal/wire; both run the vectors in its testdata/.

export const SUBPROTOCOL = 'staithe.mux.v1'
export const CONTROL = 255
/** The largest message either side may send: the channel and 64 KiB. */
export const MAX_MESSAGE = 64 * 1024 + 1

export type Bytes = Uint8Array<ArrayBuffer>

export type Req = number | string

export type ClientMessage =
  | { type: 'hello'; client: string; name?: string }
  | { type: 'open'; req: Req; cols: number; rows: number; name?: string; cwd?: string; command?: string[] }
  | {
      type: 'attach'
      req: Req
      tab: string
      cols: number
      rows: number
      epoch?: string
      offset?: number
      live?: boolean
      scrollback?: number
      restart?: boolean
    }
  | { type: 'detach'; channel: number }
  | { type: 'resize'; channel: number; cols: number; rows: number }
  | { type: 'ack'; channel: number; offset: number; snapshot?: boolean }
  | ({ type: 'drive'; channel: number } & Look)
  | { type: 'rename'; tab: string; name: string }
  | { type: 'close'; tab: string }
  | { type: 'signal'; channel: number; signal: string }
  | { type: 'list'; req: Req }
  | { type: 'ping'; t: number }

/** What this page draws with: programs may ask, and the guest answers them. */
export interface Look {
  theme?: { fg?: string; bg?: string; cursor?: string; palette?: string[] }
  cell_px?: [number, number]
}

export type Role = 'viewer' | 'writer' | 'owner'

export interface Tab {
  tab: string
  name: string
  title: string
  cwd: string
  process: string
  cols: number
  rows: number
  clients: number
  exited: boolean
  exit_code: number
  signal?: string
  created_at: string
  active_at: string
  /** The shell's last command. */
  command?: { id: number; ended?: boolean; exit_code?: number }
}

export interface Peer {
  client: string
  user: string
  name: string
  role: Role
  driver: boolean
  cols: number
  rows: number
  idle_s: number
}

export interface You {
  client: string
  user: string
  name: string
  role: Role
}

export interface Welcome {
  type: 'welcome'
  protocol: number
  session: string
  you: You
  window: number
  ping_s: number
  tabs: Tab[]
}

export interface Attached {
  type: 'attached'
  req: Req
  tab: string
  channel: number
  epoch: string
  offset: number
  mode: 'resume' | 'snapshot'
  snapshot_bytes: number
  cols: number
  rows: number
  input_offset: number
  /** The output's end when attaching: the stream up to here is the past. */
  head: number
}

export interface Exit {
  type: 'exit'
  tab: string
  channel?: number
  code: number
  signal?: string
  offset: number
}

export interface Command {
  type: 'command'
  tab: string
  id: number
  phase: 'start' | 'end'
  offset: number
  line?: string
  exit_code?: number
  duration_ms?: number
}

export interface ErrorMessage {
  type: 'error'
  req?: Req
  code: string
  message: string
}

export type ServerMessage =
  | Welcome
  | Attached
  | { type: 'detached'; channel: number }
  | { type: 'tabs'; req?: Req; tabs: Tab[] }
  | { type: 'size'; channel: number; cols: number; rows: number; offset: number }
  | { type: 'ack'; channel: number; offset: number }
  | { type: 'resync'; channel: number; offset: number; snapshot_bytes: number; why: string }
  | { type: 'presence'; tab: string; clients: Peer[] }
  | Exit
  | ErrorMessage
  | { type: 'notify'; code: string; tab?: string; title?: string; text: string }
  | { type: 'title'; tab: string; title: string }
  | { type: 'cwd'; tab: string; cwd: string }
  | { type: 'bell'; tab: string }
  | Command
  | { type: 'pong'; t: number }

export interface Frame {
  channel: number
  payload: Bytes
}

export class ProtocolError extends Error {
  override name = 'ProtocolError'
}

/** Takes a message apart. The payload shares the message's memory. */
export function split(message: Bytes): Frame {
  if (message.length === 0) throw new ProtocolError('empty message')
  if (message.length > MAX_MESSAGE) throw new ProtocolError(`message over ${MAX_MESSAGE} bytes`)
  return { channel: message[0]!, payload: message.subarray(1) }
}

export function frame(channel: number, payload: Uint8Array): Bytes {
  const message = new Uint8Array(payload.length + 1)
  message[0] = channel
  message.set(payload, 1)
  return message
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export function control(message: ClientMessage): Bytes {
  return frame(CONTROL, encoder.encode(JSON.stringify(message)))
}

/** What each message must carry for the page to act on it; anything else in it is optional. */
const shapes: Record<string, Record<string, 'number' | 'string' | 'array' | 'object'>> = {
  welcome: { protocol: 'number', session: 'string', you: 'object', ping_s: 'number', tabs: 'array' },
  attached: {
    tab: 'string',
    channel: 'number',
    epoch: 'string',
    offset: 'number',
    mode: 'string',
    snapshot_bytes: 'number',
    cols: 'number',
    rows: 'number',
    input_offset: 'number',
    head: 'number',
  },
  detached: { channel: 'number' },
  tabs: { tabs: 'array' },
  size: { channel: 'number', cols: 'number', rows: 'number' },
  ack: { channel: 'number', offset: 'number' },
  resync: { channel: 'number', offset: 'number', snapshot_bytes: 'number' },
  presence: { tab: 'string', clients: 'array' },
  exit: { tab: 'string', code: 'number', offset: 'number' },
  error: { code: 'string', message: 'string' },
  notify: { code: 'string', text: 'string' },
  title: { tab: 'string', title: 'string' },
  cwd: { tab: 'string', cwd: 'string' },
  bell: { tab: 'string' },
  command: { tab: 'string', id: 'number', phase: 'string', offset: 'number' },
  pong: {},
}

function kind(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  return value === null ? 'null' : typeof value
}

/** Decodes a control payload. A type this version does not know is null: newer servers may say more. */
export function parseServer(payload: Uint8Array): ServerMessage | null {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(payload))
  } catch (cause) {
    throw new ProtocolError('control message is not JSON', { cause })
  }
  if (kind(value) !== 'object') throw new ProtocolError('a control message is one JSON object')
  const fields = value as Record<string, unknown>
  if (typeof fields.type !== 'string') throw new ProtocolError('control message without a type')
  const shape = Object.hasOwn(shapes, fields.type) ? shapes[fields.type] : undefined
  if (!shape) return null
  for (const [name, want] of Object.entries(shape)) {
    if (kind(fields[name]) !== want) throw new ProtocolError(`${fields.type}: ${name} is not a ${want}`)
  }
  return value as ServerMessage
}
