import { request } from './client'
import type { Session, Token, User } from './types'

const at = (name: string) => `/sessions/${encodeURIComponent(name)}`
const person = (name: string) => `/users/${encodeURIComponent(name)}`

/** A list comes bare or under its name; the page takes either. */
async function list<T>(path: string, name: string): Promise<T[]> {
  const answer = await request<T[] | Record<string, T[] | null> | null>('GET', path)
  if (Array.isArray(answer)) return answer
  return answer?.[name] ?? []
}

export const api = {
  setupNeeded: async () => (await request<{ needed: boolean }>('GET', '/setup')).needed,
  setup: (token: string, username: string, password: string) =>
    request<unknown>('POST', '/setup', { token, username, password }),
  login: (username: string, password: string) => request<unknown>('POST', '/login', { username, password }),
  logout: () => request<void>('POST', '/logout', {}),
  acceptInvite: (token: string, password: string) => request<unknown>('POST', '/invite', { token, password }),

  me: () => request<User>('GET', '/me'),
  changePassword: (current: string, next: string) =>
    request<void>('POST', '/me/password', { current, password: next }),

  users: () => list<User>('/users', 'users'),
  invite: (username: string) => request<{ invite?: string }>('POST', '/users', { username }),
  setDisabled: (name: string, disabled: boolean) => request<User>('PATCH', person(name), { disabled }),
  deleteUser: (name: string) => request<void>('DELETE', person(name)),
  resetLink: (name: string) => request<{ link?: string }>('POST', `${person(name)}/reset-link`, {}),

  tokens: () => list<Token>('/tokens', 'tokens'),
  createToken: (name: string, expiresIn: number | null) =>
    request<{ id: string; token: string }>('POST', '/tokens', {
      name,
      scopes: ['*'],
      ...(expiresIn ? { expires_in: expiresIn } : {}),
    }),
  deleteToken: (id: string) => request<void>('DELETE', `/tokens/${encodeURIComponent(id)}`),

  sessions: () => list<Session>('/sessions', 'sessions'),
  session: (name: string) => request<Session>('GET', at(name)),
  createSession: (name: string) => request<Session>('POST', '/sessions', { name }),
  renameSession: (session: string, name: string) => request<Session>('PATCH', at(session), { name }),
  deleteSession: (session: string) => request<void>('DELETE', at(session)),
  wake: (session: string) => request<Session>('POST', `${at(session)}/wake`, {}),
  sleep: (session: string) => request<Session>('POST', `${at(session)}/sleep`, {}),
}
