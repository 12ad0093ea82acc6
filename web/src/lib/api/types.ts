// The page's own names for what the API sends; the shapes are the server's.

import type { components } from './schema.gen'

type Schemas = components['schemas']

export type User = Schemas['User']
export type SessionState = 'starting' | 'running' | 'asleep' | 'failed'
export type Session = Omit<Schemas['Session'], 'state'> & {
  state: SessionState
  frozen?: boolean
  asleep_since?: string
  keep_awake_until?: string
  notice?: Notice
}
export type SessionClass = Schemas['Class']
export interface Notice {
  code: string
  text: string
  at: string
}
export interface Refusal {
  name: string
  address: string
  port: number
  network: string
  why: string
  count: number
  last: string
}
export interface NetworkStatus {
  mode: string
  in: number
  out: number
  refused: Refusal[]
}
export type Token = Schemas['APIToken']
export type Newcomer = Schemas['Newcomer']
export type CreatedUser = Schemas['CreatedUser']
export type NewToken = Schemas['NewToken']
export type ResetLink = Schemas['ResetLink']
export type ProblemDocument = Schemas['Problem']
