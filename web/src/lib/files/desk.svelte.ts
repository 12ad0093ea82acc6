import { untrack } from 'svelte'
import { Problem, sentenceOf } from '$lib/api/client'
import { drawer } from '$lib/state/drawer.svelte'
import { focusDrawer } from '$lib/state/focus'
import { toasts } from '$lib/state/toasts.svelte'
import { download, files } from './api'
import type { ArchiveFormat } from './api'
import { Edit } from './edit.svelte'
import { FirstFiles } from './first-files.svelte'
import { another, baseOf, join, parentOf, shownText, within } from './names'
import { topmost } from './select'
import { FileTree } from './tree.svelte'
import { sender } from './tus'
import { isFolder, isReadable } from './types'
import type { Entry } from './types'
import { count } from './words'
import { UploadNotice } from './upload-notice'
import { Uploads } from './uploads.svelte'

/** A dialog of the drawer that waits for an answer. */
export type Asking =
  | { what: 'new-file' | 'new-folder'; folder: string }
  | { what: 'rename'; entry: Entry }
  | { what: 'move' | 'copy'; paths: string[] }
  | { what: 'mode'; entry: Entry }
  | { what: 'exists'; path: string; answer: (answer: 'replace' | 'both' | 'skip' | null, forAll: boolean) => void; several: boolean }
  | { what: 'save-as' }
  | { what: 'leave'; then: () => void }

/** All that one person's drawer holds, for as long as the page lives: also while the drawer is closed. */
export class Desk {
  readonly tree = new FileTree(files)
  readonly uploads: Uploads
  readonly firstFiles: FirstFiles
  edit = $state.raw<Edit | null>(null)
  asking = $state.raw<Asking | null>(null)
  #guard = (event: BeforeUnloadEvent) => {
    if (this.edit?.dirty || this.uploads.left > 0) event.preventDefault()
  }

  constructor(readonly user: string) {
    this.firstFiles = new FirstFiles(user, files.template)
    this.uploads = new Uploads(sender(user), (path) => files.makeFolder(path, true))
    this.uploads.onarrived = (path) => this.tree.touched(...this.#newAlong(path))
    this.tree.onchanges = (changes) => void this.edit?.heard(changes)
    this.tree.onfresh = () => void this.edit?.check()
    addEventListener('beforeunload', this.#guard)
    drawer.leave = (then) => this.unlessDirty(() => this.#leave(then))
  }

  dispose(): void {
    removeEventListener('beforeunload', this.#guard)
    this.tree.stop()
    this.firstFiles.stop()
    this.uploads.pauseAll()
    this.edit = null
    drawer.leave = null
    drawer.editing = false
    drawer.uploading = 0
    drawer.unsaved = false
    drawer.trouble = ''
  }

  /** The folder that a new thing goes into: the open one that the keyboard is on or in, else the one shown. */
  get here(): string {
    const row = this.tree.activeRow
    if (row?.kind !== 'entry' || !this.tree.selection.selected.has(row.key)) return this.tree.root
    if (row.open) return row.entry.path
    return parentOf(row.entry.path)
  }

  openEntry(entry: Entry): void {
    if (entry.kind === 'folder') this.tree.go(entry.path)
    else if (isFolder(entry)) toasts.problem('This link leads to a folder. Go there by its own path.')
    else if (isReadable(entry)) this.editFile(entry.path)
    else toasts.problem(`${shownText(entry.name)} is no file that can be read.`)
  }

  editFile(path: string): void {
    this.unlessDirty(() => {
      this.edit = new Edit(path, files)
      drawer.editing = true
    })
  }

  closeEdit(): void {
    this.unlessDirty(() => this.#leave(() => queueMicrotask(focusDrawer)))
  }

  #leave(then: () => void): void {
    this.edit = null
    drawer.editing = false
    then()
  }

  /** Does it, once a person said what becomes of unsaved text. */
  unlessDirty(then: () => void): void {
    if (!this.edit?.dirty) return then()
    // The question is asked beside the text that it is about.
    if (!drawer.open) drawer.enter()
    this.asking = { what: 'leave', then }
  }

  download(entries: readonly Entry[], format: ArchiveFormat = 'zip'): void {
    for (const entry of entries) {
      download(entry.kind === 'folder' || !isReadable(entry) ? files.archiveURL(entry.path, format) : files.contentURL(entry.path))
    }
  }

  async trash(entries: readonly Entry[]): Promise<void> {
    const gone: Array<{ id: string; path: string }> = []
    await this.#each(topmost(entries.map(({ path }) => path)), async (path) => {
      const { id } = await files.trash(path)
      gone.push({ id, path })
      this.tree.touched(path)
    })
    if (gone.length === 0) return
    const what = gone.length === 1 ? shownText(baseOf(gone[0]!.path)) : count(gone.length, 'thing')
    toasts.done(`Put ${what} into the trash.`, { label: 'Undo', run: () => void this.#untrash(gone) })
  }

  async #untrash(gone: Array<{ id: string; path: string }>): Promise<void> {
    focusDrawer()
    await this.#each(gone, async ({ id, path }) => {
      await files.restore(id)
      this.tree.touched(path)
    })
  }

  async makeFolder(path: string): Promise<void> {
    await files.makeFolder(path)
    this.tree.touched(path)
    this.tree.select(path, 'only')
  }

  async makeFile(path: string): Promise<void> {
    await files.write(path, new Uint8Array(), 'new')
    this.tree.touched(path)
    this.editFile(path)
  }

  /** Another name in the same folder. Throws a Problem, for the dialog to show. */
  async rename(entry: Entry, to: string): Promise<void> {
    await files.move(entry.path, to)
    this.#followEdit(entry.path, to)
    this.tree.touched(entry.path, to)
    toasts.done(`Renamed to ${shownText(baseOf(to))}.`, {
      label: 'Undo',
      run: () => void this.#back([{ from: to, to: entry.path }]),
    })
  }

  async move(paths: readonly string[], folder: string): Promise<void> {
    const moved: Array<{ from: string; to: string }> = []
    await this.#into(topmost(paths), folder, async (from, to, replace) => {
      await files.move(from, to, replace)
      moved.push({ from: to, to: from })
      this.#followEdit(from, to)
      this.tree.touched(from, to)
    })
    if (moved.length === 0) return
    toasts.done(`Moved ${count(moved.length, 'thing')} to ${folderWords(folder)}.`, {
      label: 'Undo',
      run: () => void this.#back(moved),
    })
  }

  async copy(paths: readonly string[], folder: string): Promise<void> {
    let copied = 0
    await this.#into(topmost(paths), folder, async (from, to, replace) => {
      if (replace) await this.#copyOver(from, to)
      else await files.copy(from, to)
      copied++
      this.tree.touched(to)
    })
    if (copied > 0) toasts.done(`Copied ${count(copied, 'thing')} to ${folderWords(folder)}.`)
  }

  /** What is replaced stays in its place until the copy is there, and goes to the trash then. */
  async #copyOver(from: string, to: string): Promise<void> {
    await this.#free(to, async (beside) => {
      await files.copy(from, beside)
      try {
        await files.move(beside, to, true)
      } catch (error) {
        await files.trash(beside).catch(() => this.tree.touched(beside))
        throw error
      }
    })
  }

  async chmod(path: string, mode: number): Promise<void> {
    await files.chmod(path, mode)
    this.tree.touched(path)
  }

  async #back(moves: Array<{ from: string; to: string }>): Promise<void> {
    focusDrawer()
    await this.#each(moves, async ({ from, to }) => {
      await files.move(from, to)
      this.#followEdit(from, to)
      this.tree.touched(from, to)
    })
  }

  /** Each into a folder; where the name is taken, a person is asked. */
  async #into(paths: string[], folder: string, act: (from: string, to: string, replace: boolean) => Promise<void>): Promise<void> {
    let always: 'replace' | 'both' | 'skip' | null = null
    await this.#each(
      paths.filter((path) => !within(folder, path) || path === folder),
      async (from) => {
        const to = join(folder, baseOf(from))
        if (from === to) return this.#free(to, (free) => act(from, free, false))
        try {
          return await act(from, to, false)
        } catch (error) {
          if (!isConflict(error)) throw error
        }
        const answer = always ?? (await this.#ask(to, paths.length > 1, (all) => (always = all)))
        if (answer === 'replace') await act(from, to, true)
        else if (answer === 'both') await this.#free(to, (free) => act(from, free, false))
      },
    )
  }

  /** With the first free name like this one. */
  async #free(path: string, act: (path: string) => Promise<void>): Promise<void> {
    for (let n = 2; ; n++) {
      try {
        return await act(join(parentOf(path), another(baseOf(path), n)))
      } catch (error) {
        if (!isConflict(error) || n > 200) throw error
      }
    }
  }

  #ask(path: string, several: boolean, forAll: (answer: 'replace' | 'both' | 'skip') => void) {
    return new Promise<'replace' | 'both' | 'skip' | null>((resolve) => {
      this.asking = {
        what: 'exists',
        path,
        several,
        answer: (answer, all) => {
          this.asking = null
          if (answer && all) forAll(answer)
          resolve(answer)
        },
      }
    })
  }

  /** One after another; what fails is said, and the others go on. */
  async #each<T>(list: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
    for (const item of list) {
      try {
        await act(item)
      } catch (error) {
        toasts.problem(sentenceOf(error))
      }
    }
  }

  /** A file that is being edited keeps its editor when it, or a folder above it, is moved. */
  #followEdit(from: string, to: string): void {
    if (this.edit && within(this.edit.path, from)) this.edit.path = to + this.edit.path.slice(from.length)
  }

  /** A path with the folders above it that may be new, up to one that is known. */
  #newAlong(path: string): string[] {
    const paths = [path]
    for (let at = parentOf(path); within(at, this.tree.root) && at !== this.tree.root; at = parentOf(at)) paths.push(at)
    return paths
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof Problem && error.code === 'file_exists'
}

export function folderWords(path: string): string {
  return path === '.' ? 'the home' : shownText(path)
}

let kept = $state.raw<Desk | null>(null)
let putAway: (() => void) | null = null

/** The desk of a person; another person's is put away. */
export function deskOf(user: string): Desk {
  if (kept?.user !== user) {
    kept?.dispose()
    putAway?.()
    // What it derives must outlive the drawer that asked for it first.
    putAway = $effect.root(() => void (kept = new Desk(user)))
  }
  return kept!
}

// What is told outside of the drawer, and so by nothing that the drawer ends with.
$effect.root(() => {
  const notice = new UploadNotice((text) => toasts.problem(text, { label: 'Show', run: () => drawer.enter() }))
  $effect(() => {
    if (!kept) return
    drawer.unsaved = kept.edit?.dirty ?? false
    const { left, failed, question } = kept.uploads
    drawer.uploading = left
    drawer.trouble = [failed > 0 ? `${count(failed, 'upload')} failed` : '', question ? 'an upload waits for your answer' : '']
      .filter(Boolean)
      .join(', ')
  })
  $effect(() => {
    if (!kept) return
    const { uploads } = kept
    void [uploads.failed, uploads.question, drawer.open]
    untrack(() => notice.look(uploads, drawer.open))
  })
})
