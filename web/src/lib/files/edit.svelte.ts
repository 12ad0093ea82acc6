import { Problem, sentenceOf } from '$lib/api/client'
import type { Change, Entry } from './types'

/** What the editor asks of the server. */
export interface EditSource {
  stat(path: string): Promise<Entry>
  read(path: string): Promise<{ bytes: Uint8Array; etag: string }>
  write(path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new' | 'any'): Promise<Entry>
}

/** More than this is slow to edit in a page, in bytes. */
export const MOST = 1 << 20

/** What ends the lines of a text; a mixture is kept as it is, with the CR as a character of its own. */
export function lineBreakOf(text: string): '\n' | '\r\n' {
  const all = text.match(/\n/g)?.length ?? 0
  const crlf = text.match(/\r\n/g)?.length ?? 0
  return all > 0 && all === crlf && !/\r(?!\n)/.test(text) ? '\r\n' : '\n'
}

/** A file's bytes as text that gives the same bytes again; null: they are none. */
export function textOf(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/** One text file that is being edited. */
export class Edit {
  state = $state<'loading' | 'ready' | 'unfit' | 'failed'>('loading')
  problem = $state('')
  path = $state('')
  /** The text as it was last read or written; a new one is a new document for the editor. */
  loaded = $state.raw<{ text: string } | null>(null)
  dirty = $state(false)
  saving = $state(false)
  /** What it says on disk is not what was read: 'changed', or 'gone'. */
  disk = $state<'same' | 'changed' | 'gone'>('same')
  /** A save was refused because the file has changed: a person decides. */
  conflict = $state(false)
  /** Gives the text as it stands in the editor. */
  current: () => string = () => this.loaded?.text ?? ''
  /** What the last write was refused with. */
  refusal: unknown = null
  #etag = ''

  constructor(
    path: string,
    private readonly source: EditSource,
  ) {
    this.path = path
    void this.load()
  }

  /** Reads it anew; what was typed is lost. */
  async load(): Promise<void> {
    this.state = 'loading'
    try {
      const entry = await this.source.stat(this.path)
      if (entry.size > MOST) return this.#unfit('It is larger than 1 MB, which is too much for this editor.')
      const { bytes, etag } = await this.source.read(this.path)
      const text = bytes.length > MOST ? null : textOf(bytes)
      if (text === null) return this.#unfit('It is no text in UTF-8.')
      this.#etag = etag
      this.loaded = { text }
      this.dirty = false
      this.disk = 'same'
      this.conflict = false
      this.state = 'ready'
    } catch (error) {
      this.problem = sentenceOf(error)
      this.state = 'failed'
    }
  }

  /** Writes it, unless the file is not the one that was read. Says whether it is written. */
  save(): Promise<boolean> {
    return this.#write(this.path, this.#etag ? { etag: this.#etag } : 'any')
  }

  /** Writes it over whatever is there. */
  overwrite(): Promise<boolean> {
    return this.#write(this.path, 'any')
  }

  /** Writes it under another name, which must be free, and goes on with that. */
  saveAs(path: string): Promise<boolean> {
    return this.#write(path, 'new')
  }

  /** Looks whether a change on disk is about this file. */
  async heard(changes: readonly Change[]): Promise<void> {
    const about = changes.filter(({ path, from }) => path === this.path || from === this.path || this.path.startsWith(`${path}/`))
    if (about.length === 0 || this.state !== 'ready' || this.saving) return
    await this.check()
  }

  /** Compares with the disk. A file that was not touched here is simply shown anew. */
  async check(): Promise<void> {
    if (this.state !== 'ready' || this.saving) return
    try {
      const { etag } = await this.source.stat(this.path)
      if (this.saving || !etag || etag === this.#etag) return
      const { bytes, etag: fresh } = await this.source.read(this.path)
      if (this.saving) return
      // Touched, or written with the same text: nothing to tell.
      if (textOf(bytes) === this.loaded?.text) {
        this.#etag = fresh
        this.disk = 'same'
      } else if (!this.dirty) await this.load()
      else this.disk = 'changed'
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.disk = 'gone'
    }
  }

  async #write(path: string, over: { etag: string } | 'new' | 'any'): Promise<boolean> {
    if (this.saving) return false
    this.saving = true
    this.problem = ''
    const text = this.current()
    try {
      const entry = await this.source.write(path, new TextEncoder().encode(text), over)
      this.path = path
      this.#etag = entry.etag ?? (await this.source.stat(path)).etag ?? ''
      this.loaded!.text = text
      // Typed on while it was written: that is not saved yet.
      this.dirty = this.current() !== text
      this.disk = 'same'
      this.conflict = false
      return true
    } catch (error) {
      this.refusal = error
      if (over === 'new') return false // a free name was wanted, and the one who asked says so
      if (error instanceof Problem && (error.code === 'file_changed' || error.status === 412)) this.conflict = true
      else this.problem = sentenceOf(error)
      return false
    } finally {
      this.saving = false
    }
  }

  #unfit(why: string): void {
    this.problem = why
    this.state = 'unfit'
  }
}
