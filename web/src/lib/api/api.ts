import { request } from './client'
import type { CreatedUser, NetworkStatus, Newcomer, NewToken, ResetLink, Session, SessionClass, Token, User } from './types'

const at = (session: string) => `/sessions/${encodeURIComponent(session)}`
const person = (user: string) => `/users/${encodeURIComponent(user)}`

/** The REST interface, one function per action. Each throws a Problem when the server refuses. */
export const api = {
  setupNeeded: async () => (await request<{ needed: boolean }>('GET', '/setup')).needed,
  setup: (token: string, username: string, password: string) =>
    request<Newcomer>('POST', '/setup', { token, username, password }),
  login: (username: string, password: string) => request<User>('POST', '/login', { username, password }),
  logout: () => request<void>('POST', '/logout'),
  acceptInvite: (token: string, password: string) => request<Newcomer>('POST', '/invite', { token, password }),

  me: () => request<User>('GET', '/me'),
  changePassword: (current: string, next: string) => request<void>('POST', '/me/password', { current, new: next }),

  users: () => request<User[]>('GET', '/users'),
  invite: (username: string) => request<CreatedUser>('POST', '/users', { username }),
  setDisabled: (user: string, disabled: boolean) => request<User>('PATCH', person(user), { disabled }),
  deleteUser: (user: string) => request<void>('DELETE', person(user)),
  resetLink: (user: string) => request<ResetLink>('POST', `${person(user)}/reset-link`),

  tokens: () => request<Token[]>('GET', '/tokens'),
  /** Seconds 0 is for ever. */
  createToken: (name: string, seconds: number, scope: string) =>
    request<NewToken>('POST', '/tokens', { name, scopes: [scope], ...(seconds ? { expires_in: seconds } : {}) }),
  deleteToken: (id: string) => request<void>('DELETE', `/tokens/${encodeURIComponent(id)}`),

  sessions: () => request<Session[]>('GET', '/sessions'),
  session: (session: string) => request<Session>('GET', at(session)),
  /** Without a class it is the server's default. */
  createSession: (name: string, chosen?: string) =>
    request<Session>('POST', '/sessions', { name, ...(chosen ? { class: chosen } : {}) }),
  renameSession: (session: string, name: string) => request<Session>('PATCH', at(session), { name }),
  deleteSession: (session: string) => request<void>('DELETE', at(session)),
  wake: (session: string) => request<Session>('POST', `${at(session)}/wake`),
  /** Frozen where that can be; with stop its programs end. */
  sleep: (session: string, stop = false) => request<Session>('POST', `${at(session)}/sleep${stop ? '?stop=true' : ''}`),
  /** For so many seconds; 0 ends it. */
  keepAwake: (session: string, seconds: number) => request<Session>('POST', `${at(session)}/keep-awake`, { seconds }),
  dismissNotice: (session: string) => request<void>('DELETE', `${at(session)}/notice`),
  network: (session: string) => request<NetworkStatus>('GET', `${at(session)}/network`),

  classes: () => request<SessionClass[]>('GET', '/classes'),
}
