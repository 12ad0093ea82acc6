import * as tus from 'tus-js-client'
import { UPLOADS } from './api'
import type { Refusal, Send, SendEvents } from './uploads.svelte'

/** What of an earlier page is not finished: its file has to be given again. */
export interface Unfinished {
  key: string
  path: string
  size: number
  modified: number
  url: string
}

/** Bytes of one request. What stands between may want to hold a request whole. */
const CHUNK = 32 << 20
/** For hours: a server that is away comes back. */
const RETRIES = [0, 500, 1000, 2000, 4000, ...Array.from({ length: 5000 }, () => 5000)]
const AWAY = 'The server does not answer. The upload goes on by itself when it does.'

function fingerprint(user: string, path: string, size: number, modified: number): string {
  return ['staithe', user, path, size, modified].join('|')
}

function statusOf(error: Error | tus.DetailedError): number {
  return 'originalResponse' in error && error.originalResponse ? error.originalResponse.getStatus() : 0
}

/** The server's own sentence, or what stands for one. */
export function refusalOf(error: Error | tus.DetailedError): Refusal {
  const status = statusOf(error)
  let code = ''
  let sentence = ''
  try {
    const body = JSON.parse(('originalResponse' in error && error.originalResponse?.getBody()) || '{}') as {
      code?: string
      detail?: string
    }
    code = body.code ?? ''
    sentence = body.detail ?? ''
  } catch {
    // Not a problem document, for example from a proxy in between.
  }
  if (!sentence && status === 401) sentence = 'You are logged out. Log in, then try again.'
  if (!sentence && status === 413) sentence = 'Something between here and the server refuses uploads of this size.'
  if (!sentence && status === 0) sentence = 'This file cannot be read any more. It may have changed: choose it again.'
  return { conflict: status === 409 && code === 'file_exists', sentence: sentence || `The server refused it (${status}). Try again.` }
}

/** Whether waiting helps: nobody answered, or said that it is for the moment. */
export function worthRetrying(status: number): boolean {
  return status === 0 || status === 423 || status === 429 || (status >= 500 && status !== 507)
}

/** Sends files of one user by tus; an upload that this browser began before goes on. */
export function sender(user: string): Send {
  return ({ file, path, replace }, events) => new TusSending(user, file, path, replace, events)
}

class TusSending {
  #upload: tus.Upload
  #halted = false
  #unreadable = false

  constructor(user: string, file: File, path: string, replace: boolean, events: SendEvents) {
    const modified = new Date(file.lastModified).toISOString()
    this.#upload = new tus.Upload(file, {
      endpoint: UPLOADS,
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      removeFingerprintOnSuccess: true,
      metadata: { path, mtime: modified, ...(replace ? { replace: 'yes' } : {}) },
      fingerprint: () => Promise.resolve(fingerprint(user, path, file.size, file.lastModified)),
      onProgress: (sent) => events.onProgress(sent),
      onSuccess: () => events.onDone(),
      onError: (error) => events.onRefused(refusalOf(error)),
      onShouldRetry: (error) => {
        const status = statusOf(error)
        if (!worthRetrying(status) || (status === 0 && this.#unreadable)) return false
        if (status === 0) void this.#checkFile(file)
        events.onTrouble(AWAY)
        return true
      },
    })
    void this.#begin(replace)
  }

  pause(): void {
    this.#halted = true
    void this.#upload.abort()
  }

  resume(): void {
    this.#halted = false
    this.#upload.start()
  }

  async cancel(): Promise<void> {
    this.#halted = true
    await this.#upload.abort(true)
  }

  /** An upload that has to replace something was begun anew for that: its metadata is its own. */
  async #begin(replace: boolean): Promise<void> {
    const before = replace ? [] : await this.#upload.findPreviousUploads().catch(() => [])
    if (before[0]) this.#upload.resumeFromPreviousUpload(before[0])
    if (!this.#halted) this.#upload.start()
  }

  /** No answer, or nothing to send: a file that was changed or removed meanwhile looks the same to tus. */
  async #checkFile(file: File): Promise<void> {
    await file
      .slice(0, 1)
      .arrayBuffer()
      .catch(() => (this.#unreadable = true))
  }
}

/** Uploads of this user that an earlier page began. */
export async function unfinished(user: string): Promise<Unfinished[]> {
  const all = await tus.defaultOptions.urlStorage.findAllUploads()
  const mine = fingerprint(user, '', 0, 0).split('|').slice(0, 2).join('|')
  return all.flatMap((upload) => {
    const key = (upload as { urlStorageKey?: string }).urlStorageKey ?? ''
    const url = upload.uploadUrl
    const { path, mtime } = upload.metadata as { path?: string; mtime?: string }
    if (!key.startsWith(`tus::${mine}|`) || !url || !path || upload.size === null) return []
    return [{ key, path, size: upload.size, modified: Date.parse(mtime ?? ''), url }]
  })
}

/** Throws an upload of an earlier page away, here and on the server. */
export async function discard({ key, url }: Pick<Unfinished, 'key' | 'url'>): Promise<void> {
  await tus.Upload.terminate(url).catch(() => undefined) // gone already, or it ends by itself in a week
  await tus.defaultOptions.urlStorage.removeUpload(key)
}

/** Of the given files those that unfinished uploads are of, with their paths, and the others. An upload takes one file. */
export function matched<F extends Pick<File, 'name' | 'size' | 'lastModified'>>(
  uploads: readonly Unfinished[],
  given: readonly F[],
  nameOf: (path: string) => string,
): { files: Array<{ file: F; path: string }>; others: F[] } {
  const left = [...uploads]
  const files: Array<{ file: F; path: string }> = []
  const others: F[] = []
  for (const file of given) {
    const at = left.findIndex((u) => nameOf(u.path) === file.name && u.size === file.size && u.modified === file.lastModified)
    if (at < 0) others.push(file)
    else files.push({ file, path: left.splice(at, 1)[0]!.path })
  }
  return { files, others }
}
