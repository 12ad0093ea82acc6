// What the file and backup routes send (doc/files.md). Paths have percent form. The shapes are the server's.

import type { components } from '$lib/api/schema.gen'

type Schemas = components['schemas']

export type Kind = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'device'

export type Entry = Omit<Schemas['Entry'], 'kind' | 'leads_to'> & { kind: Kind; leads_to?: Kind | '' }
export type Listing = Omit<Schemas['Listing'], 'entries'> & { entries: Entry[] }
export type Moved = Schemas['Moved']
export type Trashed = Schemas['Trashed']

export interface GitStatus {
  repository: string
  branch: string
  ahead: number
  behind: number
  entries: Array<{ path: string; code: string }>
  truncated: boolean
}

export interface SearchQuery {
  path: string
  text: string
  content?: boolean
  regexp?: boolean
  case?: boolean
  hidden?: boolean
}

export type Match = Omit<Schemas['Match'], 'entry'> & { entry: Entry }
export type Searched = Schemas['Searched']
export type Found = Omit<Schemas['Found'], 'match'> & { match?: Match }

export type ChangeKind = 'create' | 'modify' | 'delete' | 'move' | 'attrib'

export interface Change {
  path: string
  change: ChangeKind
  from?: string
}

export interface Snapshot {
  id: string
  at: string
  files: number
  bytes: number
  added_bytes: number
  changed_files: number
  verified_at?: string
  tags: string[]
}

export interface Left {
  rule: string
  why: string
  bytes: number
  files: number
}

export interface BackupState {
  on: boolean
  off?: string
  place: string
  safe_at?: string
  pending_files: number
  busy?: string
  done_bytes?: number
  total_bytes?: number
  verified_at?: string
  trouble?: string
  retry_at?: string
  left_out: Left[]
}

export interface RestoreRequest {
  path: string
  where: 'beside' | 'in_place'
  exact?: boolean
}

export interface RestorePreview {
  changes: Array<{ path: string; change: 'add' | 'replace' | 'trash' | 'mode'; size: number }>
  adds: number
  replaces: number
  trashes: number
  same: number
  bytes: number
  refused?: string
}

export interface Restore {
  id: string
  snapshot: string
  request: RestoreRequest
  state: 'running' | 'done' | 'failed' | 'undone'
  into?: string
  done_bytes: number
  total_bytes: number
  started_at: string
  ended_at?: string
  trouble?: string
  undo: boolean
}

/** Whether it is a folder, or a link that leads to one. */
export function isFolder(entry: Pick<Entry, 'kind' | 'leads_to'>): boolean {
  return entry.kind === 'folder' || (entry.kind === 'symlink' && entry.leads_to === 'folder')
}

/** Whether it has bytes to read. */
export function isReadable(entry: Pick<Entry, 'kind' | 'leads_to'>): boolean {
  return entry.kind === 'file' || (entry.kind === 'symlink' && entry.leads_to === 'file')
}
