// What the file and backup routes send (doc/files.md). Paths have percent form. The shapes are the server's.

import type { components } from '$lib/api/schema.gen'

type Schemas = components['schemas']

export type Kind = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'device'

export type Entry = Omit<Schemas['Entry'], 'kind' | 'leads_to'> & { kind: Kind; leads_to?: Kind | '' }
export type Listing = Omit<Schemas['Listing'], 'entries'> & { entries: Entry[] }
export type Moved = Schemas['Moved']
export type Trashed = Schemas['Trashed']

export type GitStatus = Schemas['GitStatus']

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

export type Snapshot = Schemas['Snapshot']
export type BackupState = Schemas['BackupState']
export type RestoreRequest = Schemas['RestoreRequest']
export type RestorePreview = Schemas['RestorePreview']
export type Restore = Schemas['Restore']
export type HomeTemplate = Schemas['HomeTemplate']

/** Whether it is a folder, or a link that leads to one. */
export function isFolder(entry: Pick<Entry, 'kind' | 'leads_to'>): boolean {
  return entry.kind === 'folder' || (entry.kind === 'symlink' && entry.leads_to === 'folder')
}

/** Whether it has bytes to read. */
export function isReadable(entry: Pick<Entry, 'kind' | 'leads_to'>): boolean {
  return entry.kind === 'file' || (entry.kind === 'symlink' && entry.leads_to === 'file')
}
