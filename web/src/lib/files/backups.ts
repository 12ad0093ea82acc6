import { request } from '$lib/api/client'
import { query } from './query'
import type { BackupState, Entry, Restore, RestorePreview, RestoreRequest, Snapshot } from './types'

const BACKUPS = '/workstation/backups'
const RESTORES = '/workstation/restores'
const at = (path: string) => query({ path })
const snap = (id: string) => `${BACKUPS}/${encodeURIComponent(id)}`

/** The backup routes. */
export const backups = {
  state: () => request<BackupState>('GET', `${BACKUPS}/state`),
  list: () => request<{ state: BackupState; snapshots: Snapshot[] }>('GET', BACKUPS),
  make: () => request<BackupState>('POST', BACKUPS),
  files: async (snapshot: string, path: string) =>
    (await request<{ entries: Entry[] }>('GET', `${snap(snapshot)}/files${at(path)}`)).entries,
  contentURL: (snapshot: string, path: string) => `/api/v1${snap(snapshot)}/content${at(path)}`,
  archiveURL: (snapshot: string, path: string, format: 'tar' | 'zip') =>
    `/api/v1${snap(snapshot)}/archive${query({ path, format })}`,
  preview: (snapshot: string, what: RestoreRequest, signal: AbortSignal) =>
    request<RestorePreview>('POST', `${snap(snapshot)}/preview`, what, signal),
  restore: (snapshot: string, what: RestoreRequest) => request<Restore>('POST', `${snap(snapshot)}/restores`, what),
  restores: () => request<Restore[]>('GET', RESTORES),
  restoreState: (id: string) => request<Restore>('GET', `${RESTORES}/${encodeURIComponent(id)}`),
  undo: (id: string) => request<Restore>('POST', `${RESTORES}/${encodeURIComponent(id)}/undo`),
}
