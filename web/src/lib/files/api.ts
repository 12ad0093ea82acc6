import { Problem, request, send } from '$lib/api/client'
import type { Found as Beginning } from './edit.svelte'
import { jsonLines } from './lines'
import { query } from './query'
import type { Entry, Found, GitStatus, HomeTemplate, Listing, Moved, SearchQuery, Trashed } from './types'

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
  template: () => request<HomeTemplate>('GET', '/workstation/template'),
  git: (path: string) => request<GitStatus>('GET', `${FILES}/git${at(path)}`),

  contentURL: (path: string) => `/api/v1${FILES}/content${at(path)}`,
  archiveURL: (path: string, format: ArchiveFormat) => `/api/v1${FILES}/archive${query({ path, format })}`,

  /** At most so many bytes of a file, however much it has or grows; null: it still has the ETag that is given. */
  async read(path: string, most: number, unless = '', signal?: AbortSignal): Promise<Beginning | null> {
    let response: Response
    try {
      response = await send(`${FILES}/content${at(path)}`, {
        // One more than wanted tells that there is more.
        headers: { Range: `bytes=0-${most}`, ...(unless ? { 'If-None-Match': unless } : {}) },
        ...(signal ? { signal } : {}),
      })
    } catch (error) {
      if (error instanceof Problem && error.status === 304) return null
      throw error
    }
    const etag = response.headers.get('ETag') ?? ''
    const length = Number(response.headers.get('Content-Range')?.split('/')[1] ?? response.headers.get('Content-Length') ?? 0) || 0
    if (response.status !== 206 && length > most) {
      // What stands between here and the server knows no ranges: the rest is not waited for.
      await response.body?.cancel()
      return { bytes: new Uint8Array(), etag, size: length }
    }
    const bytes = new Uint8Array(await response.arrayBuffer())
    return { bytes, etag, size: Math.max(length, bytes.length) }
  },

  /** Writes a file whole: over the one that has this ETag, or as a new one. */
  async write(path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new'): Promise<Entry> {
    const condition: Record<string, string> = over === 'new' ? { 'If-None-Match': '*' } : { 'If-Match': over.etag }
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
