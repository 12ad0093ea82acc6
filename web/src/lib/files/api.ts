import { request, send } from '$lib/api/client'
import { jsonLines } from './lines'
import { query } from './query'
import type { Entry, Found, GitStatus, Listing, Moved, SearchQuery, Trashed } from './types'

const FILES = '/workstation/files'
/** Where tus uploads begin. */
export const UPLOADS = '/api/v1/workstation/uploads'
const PAGE = 5000

const at = (path: string) => query({ path })

export type ArchiveFormat = 'zip' | 'tar.zst'

/** The file routes, one function per action. Each throws a Problem when the server refuses. */
export const files = {
  /** One page; the next one by the cursor of this one. */
  list: (path: string, hidden: boolean, cursor?: string, signal?: AbortSignal) =>
    request<Listing>('GET', `${FILES}${query({ path, hidden, sort: 'name', limit: PAGE, cursor })}`, undefined, signal),
  stat: (path: string) => request<Entry>('GET', `${FILES}/stat${at(path)}`),
  makeFolder: (path: string, parents = false) => request<Entry>('POST', `${FILES}/folders`, { path, ...(parents ? { parents } : {}) }),
  move: (from: string, to: string, replace = false) =>
    request<Moved>('POST', `${FILES}/move`, { from, to, ...(replace ? { replace } : {}) }),
  copy: (from: string, to: string) => request<{ entry: Entry }>('POST', `${FILES}/copy`, { from, to }),
  chmod: (path: string, mode: number) => request<Entry>('POST', `${FILES}/mode`, { path, mode }),
  trash: (path: string) => request<Trashed>('POST', `${FILES}/trash`, { path }),
  trashed: () => request<Trashed[]>('GET', `${FILES}/trash`),
  deleteTrashed: (id: string) => request<void>('DELETE', `${FILES}/trash${query({ id })}`),
  restore: (id: string, to?: string) => request<Entry>('POST', `${FILES}/restore`, { id, ...(to ? { to } : {}) }),
  git: (path: string) => request<GitStatus>('GET', `${FILES}/git${at(path)}`),

  contentURL: (path: string) => `/api/v1${FILES}/content${at(path)}`,
  archiveURL: (path: string, format: ArchiveFormat) => `/api/v1${FILES}/archive${query({ path, format })}`,

  /** A file's bytes and the ETag they go by. */
  async read(path: string, signal?: AbortSignal): Promise<{ bytes: Uint8Array; etag: string }> {
    const response = await send(`${FILES}/content${at(path)}`, signal ? { signal } : {})
    return { bytes: new Uint8Array(await response.arrayBuffer()), etag: response.headers.get('ETag') ?? '' }
  },

  /** Writes a file whole: over the one that has this ETag, as a new one, or over whatever there is. */
  async write(path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new' | 'any'): Promise<Entry> {
    const condition: Record<string, string> =
      over === 'new' ? { 'If-None-Match': '*' } : over === 'any' ? {} : { 'If-Match': over.etag }
    const response = await send(`${FILES}/content${at(path)}`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/octet-stream', ...condition },
      body: bytes,
    })
    return (await response.json()) as Entry
  },

  async *search(what: SearchQuery, signal: AbortSignal): AsyncGenerator<Found> {
    const response = await send(`${FILES}/search`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(what),
      signal,
    })
    if (response.body) yield* jsonLines<Found>(response.body)
  },

  watch: (path: string, signal: AbortSignal) =>
    send(`${FILES}/watch${at(path)}`, { headers: { Accept: 'text/event-stream' }, signal }),
}

/** Has the browser save what an address gives; the server says that it is an attachment. */
export function download(url: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = ''
  link.hidden = true
  document.body.append(link)
  link.click()
  link.remove()
}
