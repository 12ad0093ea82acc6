// The page's names for what the API sends. The document it is generated from is
// the server's own: `npm run gen:api`.

export interface User {
  id: string
  name: string
  admin: boolean
  disabled: boolean
  created_at: string
}

export type SessionState = 'starting' | 'running' | 'asleep' | 'failed'

export interface Session {
  id: string
  name: string
  class: string
  state: SessionState
  reason?: string
  created_at: string
  active_at: string
  why_awake: string
}

export interface Token {
  id: string
  name: string
  scopes: string[]
  created_at: string
  expires_at: string | null
  used_at: string | null
}
