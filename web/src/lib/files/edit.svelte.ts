import { Problem, sentenceOf } from '$lib/api/client'
import type { Change, Entry } from './types'
import { size } from './words'

/** The beginning of a file. */
export interface Found {
  bytes: Uint8Array
  /** What this content goes by; empty: not known. */
  etag: string
  /** Of the whole file. */
  size: number
}

/** What the editor asks of the server. */
export interface EditSource {
  /** At most so many bytes of a file; null: it still has the ETag that is given. */
  read(path: string, most: number, unless: string): Promise<Found | null>
  write(path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new'): Promise<Entry>
}

/** What holds the text while it is edited. It lives as long as the edit, whether it is drawn or not. */
export interface Pad {
  text(): string
  /** Another text in the same place: what can stay of the cursor and the history stays. */
  replace(text: string): void
}

/** More than this is slow to edit in a page, in bytes. */
export const MOST = 1 << 20
/** Between two looks at a file that changes all the time. */
const BREATH_MS = 400

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

/** What was found as text, or why it is none. */
function readable({ bytes, size: whole }: Found): { text: string } | { why: string } {
  if (whole > MOST || bytes.length > MOST) {
    return { why: `It has ${size(Math.max(whole, bytes.length))}, and more than 1 MB is too much for this editor.` }
  }
  const text = textOf(bytes)
  return text === null ? { why: 'It is no text in UTF-8.' } : { text }
}

/** One text file that is being edited. */
export class Edit {
  state = $state<'loading' | 'ready' | 'unfit' | 'failed'>('loading')
  problem = $state('')
  path = $state('')
  /** The text as it was last read or written. */
  loaded = $state.raw<{ text: string } | null>(null)
  dirty = $state(false)
  saving = $state(false)
  /** What it says on disk is not what was read: 'changed', or 'gone'. */
  disk = $state<'same' | 'changed' | 'gone'>('same')
  /** A save was refused because the file has changed: a person decides. */
  conflict = $state(false)
  /** What it says on disk when that differs; only this may be overwritten. */
  theirs = $state.raw<{ text: string; etag: string } | null>(null)
  pad: Pad | null = null
  /** What the last write was refused with. */
  refusal: unknown = null
  #etag = ''
  #looking = false
  #again = false

  constructor(
    path: string,
    private readonly source: EditSource,
  ) {
    this.path = path
    void this.load()
  }

  /** The text as it stands in the editor. */
  current(): string {
    return this.pad?.text() ?? this.loaded?.text ?? ''
  }

  /** The text in the editor has changed. */
  typed(): void {
    this.dirty = this.current() !== this.loaded?.text
  }

  /** Reads it anew, in place of what was typed. What stands in the editor stays there until it is read. */
  async load(): Promise<void> {
    if (!this.loaded) this.state = 'loading'
    this.problem = ''
    try {
      const found = await this.source.read(this.path, MOST, '')
      if (found) this.#take(found)
    } catch (error) {
      if (this.loaded && isGone(error)) return this.#gone()
      this.problem = sentenceOf(error)
      if (!this.loaded) this.state = 'failed'
    }
  }

  /** Writes it, unless the file is not the one that was read. Says whether it is written. */
  async save(): Promise<boolean> {
    // Where no ETag came, what is on disk has to be looked at first.
    if (!this.#etag) await this.#look()
    if (this.disk === 'gone') return this.overwrite()
    if (this.disk === 'changed') {
      this.conflict = true
      return false
    }
    const before = this.#etag
    if (await this.#write(this.path, { etag: before })) return true
    // It was only touched: what it says is what was read here.
    return !this.conflict && !this.problem && this.#etag !== before && this.#write(this.path, { etag: this.#etag })
  }

  /** Writes it over what is shown as being on disk, and over nothing newer; anew where there is nothing. */
  async overwrite(): Promise<boolean> {
    if (this.disk === 'gone') return this.#write(this.path, 'new')
    return this.theirs !== null && this.#write(this.path, { etag: this.theirs.etag })
  }

  /** Writes it under another name, which must be free, and goes on with that. */
  saveAs(path: string): Promise<boolean> {
    return this.#write(path, 'new')
  }

  /** Looks whether a change on disk is about this file. */
  async heard(changes: readonly Change[]): Promise<void> {
    const about = changes.some(({ path, from }) => path === this.path || from === this.path || this.path.startsWith(`${path}/`))
    if (about) await this.check()
  }

  /**
   * Compares with the disk. A file that was not touched here is simply shown anew. One look at a time: what comes
   * meanwhile is looked at once more afterwards, after a breath.
   */
  async check(): Promise<void> {
    if (this.state !== 'ready') return
    this.#again = true
    if (this.#looking || this.saving) return
    this.#looking = true
    try {
      for (;;) {
        this.#again = false
        await this.#look()
        if (!this.#again) return
        await new Promise((resolve) => setTimeout(resolve, BREATH_MS))
        if (this.saving || this.state !== 'ready') return // saving looks again when it is done
      }
    } finally {
      this.#looking = false
    }
  }

  async #look(): Promise<void> {
    const path = this.path
    const known = this.disk === 'same' ? this.#etag : (this.theirs?.etag ?? '')
    try {
      const found = await this.source.read(path, MOST, known)
      if (this.saving || path !== this.path) this.#again = true
      else if (found) this.#compare(found)
    } catch (error) {
      if (isGone(error) && path === this.path) this.#gone()
    }
  }

  #compare(found: Found): void {
    const what = readable(found)
    if ('text' in what && what.text === this.loaded?.text) {
      // Touched, or written with the same text: nothing to tell.
      this.#settle(found.etag)
    } else if (!this.dirty) this.#take(found)
    else {
      this.theirs = { text: 'text' in what ? what.text : what.why, etag: found.etag }
      this.disk = 'changed'
    }
  }

  #take(found: Found): void {
    const what = readable(found)
    if ('why' in what) {
      this.problem = what.why
      // What was typed is not thrown away for what cannot be shown.
      if (!this.dirty) this.state = 'unfit'
      return
    }
    this.loaded = what
    if (this.pad && this.pad.text() !== what.text) this.pad.replace(what.text)
    this.#settle(found.etag)
    this.dirty = false
    this.state = 'ready'
  }

  /** What is on disk is what was read. */
  #settle(etag: string): void {
    this.#etag = etag
    this.theirs = null
    this.disk = 'same'
    this.conflict = false
  }

  #gone(): void {
    this.disk = 'gone'
    this.theirs = null
  }

  async #write(path: string, over: { etag: string } | 'new'): Promise<boolean> {
    if (this.saving) return false
    this.saving = true
    this.problem = ''
    const text = this.current()
    let refused = false
    try {
      const entry = await this.source.write(path, new TextEncoder().encode(text), over)
      this.path = path
      this.loaded = { text }
      this.#settle(entry.etag ?? '')
      // Typed on while it was written: that is not saved yet.
      this.typed()
      return true
    } catch (error) {
      this.refusal = error
      refused = error instanceof Problem && [409, 412].includes(error.status) && ['file_changed', 'file_exists', ''].includes(error.code)
      // Where a free name was wanted, the one who asked says so.
      if (path !== this.path) refused = false
      else if (!refused) this.problem = sentenceOf(error)
      return false
    } finally {
      this.saving = false
      if (refused) await this.#conflicts()
      else if (this.#again) void this.check()
    }
  }

  /** The file is not what it was taken for: what it is now is shown, for a person to decide. */
  async #conflicts(): Promise<void> {
    this.conflict = true
    await this.#look()
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Problem && error.status === 404
}
