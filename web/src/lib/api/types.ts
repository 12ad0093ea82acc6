// The page's own names for what the API sends; the shapes are the server's.

import type { components } from './schema.gen'

type Schemas = components['schemas']

export type User = Schemas['User']
export type SessionState = 'starting' | 'running' | 'asleep' | 'failed'
export type Session = Omit<Schemas['Session'], 'state'> & { state: SessionState }
export type SessionClass = Schemas['Class']
export type NetworkStatus = Schemas['NetworkStatus']
export type Refusal = Schemas['Refusal']
export type Token = Schemas['APIToken']
export type Newcomer = Schemas['Newcomer']
export type CreatedUser = Schemas['CreatedUser']
export type NewToken = Schemas['NewToken']
export type ResetLink = Schemas['ResetLink']
export type ProblemDocument = Schemas['Problem']
