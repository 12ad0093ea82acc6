import { Problem, sentenceOf } from '$lib/api/client'
import { merge, todoOf } from './changes'
import type { Todo } from './changes'
import { baseOf, hiddenName, HOME, parentOf, within } from './names'
import { rowsOf, typeAhead } from './rows'
import type { Folder, Order, Row } from './rows'
import { NOTHING, prune, select } from './select'
import type { How, Selection } from './select'
import type { Change, Entry, GitStatus, Listing } from './types'
import { Watch } from './watch'
import type { WatchState } from './watch'

/** What the tree asks of the server. */
export interface TreeSource {
  list(path: string, hidden: boolean, cursor?: string, signal?: AbortSignal): Promise<Listing>
  stat(path: string): Promise<Entry>
  git(path: string): Promise<GitStatus>
  watch(path: string, signal: AbortSignal): Promise<Response>
}

/** Between two lists of one folder that changes all the time. */
const BREATH_MS = 400
const GIT_MS = 1200

/** The folders of a home that were looked at, kept as they are on disk for as long as it is watched. */
export class FileTree {
  root = $state(HOME)
  hidden = $state(false)
  order = $state.raw<Order>({ key: 'name', descending: false })
  folders = $state.raw<ReadonlyMap<string, Folder>>(new Map())
  open = $state.raw<ReadonlySet<string>>(new Set())
  selection = $state.raw<Selection>(NOTHING)
  watching = $state<WatchState>('connecting')
  git = $state.raw<GitStatus | null>(null)
  #kept = new WeakMap<Folder, { order: Order; sorted: Entry[] }>()
  readonly rows: Row[] = $derived(
    rowsOf({ root: this.root, folders: this.folders, open: this.open, order: this.order }, this.#kept),
  )
  readonly marks: ReadonlyMap<string, string> = $derived(new Map(this.git?.entries.map(({ path, code }) => [path, code]) ?? []))
  /** What happened to single files, for whoever shows one. */
  onchanges: ((changes: Change[]) => void) | null = null
  /** It is watched anew: what happened before may not have been told. */
  onfresh: (() => void) | null = null
  #watch: Watch | null = null
  #loads = new Map<string, AbortController>()
  #todo: Todo = new Map()
  #timers = new Map<string, ReturnType<typeof setTimeout>>()
  #gitTimer: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly source: TreeSource) {}

  get selected(): Entry[] {
    return this.rows.flatMap((row) => (row.kind === 'entry' && this.selection.selected.has(row.key) ? [row.entry] : []))
  }

  get activeRow(): Row | null {
    return this.rows.find(({ key }) => key === this.selection.active) ?? null
  }

  entry(path: string): Entry | undefined {
    return this.folders.get(parentOf(path))?.entries.find((entry) => entry.path === path)
  }

  /** Begins to follow what is shown. */
  start(): void {
    if (this.#watch) return
    this.#follow()
  }

  /** Nobody looks: nothing is followed. */
  stop(): void {
    this.#watch?.stop()
    this.#watch = null
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    clearTimeout(this.#gitTimer)
    this.#gitTimer = undefined
  }

  nudge(): void {
    this.#watch?.nudge()
  }

  go(root: string): void {
    if (root === this.root) return
    const below = this.root
    this.root = root
    // Coming up, the keyboard is on the folder that one came out of.
    this.selection = within(below, root) ? { ...NOTHING, active: childTowards(root, below) } : NOTHING
    this.#forgetOutside()
    if (this.#watch) this.#follow()
    else void this.load(root)
  }

  setHidden(hidden: boolean): void {
    this.hidden = hidden
    this.refresh()
  }

  setOrder(key: Order['key']): void {
    this.order = { key, descending: this.order.key === key ? !this.order.descending : key !== 'name' }
  }

  toggle(path: string, open = !this.open.has(path)): void {
    const next = new Set(this.open)
    if (open) next.add(path)
    else next.delete(path)
    this.open = next
    if (open && !this.folders.has(path)) void this.load(path)
  }

  select(key: string, how: How): void {
    this.selection = select(
      this.rows.map((row) => row.key),
      this.selection,
      key,
      how,
    )
  }

  selectAll(): void {
    const keys = this.rows.filter((row) => row.kind === 'entry').map((row) => row.key)
    this.selection = { ...this.selection, selected: new Set(keys) }
  }

  clearSelection(): void {
    this.selection = { ...this.selection, selected: new Set() }
  }

  /** Goes to the row whose name begins so. */
  typeAhead(text: string): number {
    const at = typeAhead(this.rows, Math.max(0, this.rows.findIndex(({ key }) => key === this.selection.active)), text)
    if (at >= 0) this.select(this.rows[at]!.key, 'only')
    return at
  }

  /** Lists everything that is shown again. */
  refresh(): void {
    for (const path of this.folders.keys()) {
      if (this.#isShown(path)) void this.load(path)
      else this.#drop(path)
    }
    if (!this.folders.has(this.root)) void this.load(this.root)
    this.#askGit(0)
  }

  /** After something was done here: what it touched is looked at at once, watched or not. */
  touched(...paths: string[]): void {
    this.#take(paths.map((path) => ({ path, change: 'modify' })))
  }

  async load(path: string): Promise<void> {
    this.#loads.get(path)?.abort()
    const abort = new AbortController()
    this.#loads.set(path, abort)
    this.#todo.delete(path)
    const before = this.folders.get(path)
    if (!before || before.state === 'failed') this.#put(path, { state: 'loading', entries: [], problem: '', cut: false })
    try {
      const entries: Entry[] = []
      let cursor: string | undefined
      let cut = false
      do {
        const page = await this.source.list(path, this.hidden, cursor, abort.signal)
        entries.push(...page.entries)
        cursor = page.cursor || undefined
        cut ||= page.cut ?? false
        // The first page is shown while the others come.
        if (cursor && !before) this.#put(path, { state: 'loading', entries: [...entries], problem: '', cut })
      } while (cursor)
      this.#put(path, { state: 'ready', entries, problem: '', cut })
    } catch (error) {
      if (abort.signal.aborted) return
      if (error instanceof Problem && error.status === 404 && path !== this.root && error.code === 'no_file') return this.#drop(path)
      // A list that was there is better than none, while the server is away.
      if (before?.state === 'ready' && error instanceof Problem && error.unreachable) return
      this.#put(path, { state: 'failed', entries: [], problem: sentenceOf(error), cut: false })
    } finally {
      if (this.#loads.get(path) === abort) this.#loads.delete(path)
    }
    // What changed while the list was on its way may not be in it.
    if (this.#todo.has(path)) this.#schedule(path)
  }

  #follow(): void {
    this.#watch?.stop()
    const root = this.root
    void this.load(root)
    this.#askGit(0)
    this.#watch = new Watch({
      open: (signal) => this.source.watch(root, signal),
      onFresh: () => {
        this.refresh()
        this.onfresh?.()
      },
      onChanges: (changes) => {
        this.#take(changes)
        this.onchanges?.(changes)
      },
      onState: (state) => (this.watching = state),
    })
  }

  #take(changes: Change[]): void {
    for (const [folder, names] of todoOf(changes, this.folders)) {
      if (!this.#isShown(folder)) this.#drop(folder)
      else {
        this.#todo.set(folder, merge(this.#todo.get(folder), names))
        this.#schedule(folder)
      }
    }
    this.#askGit(GIT_MS)
  }

  /** Soon, and not too often: the first time at once, then with a breath between. */
  #schedule(folder: string): void {
    if (this.#timers.has(folder) || this.#loads.has(folder)) return
    void this.#look(folder)
    this.#timers.set(
      folder,
      setTimeout(() => {
        this.#timers.delete(folder)
        if (this.#todo.has(folder)) this.#schedule(folder)
      }, BREATH_MS),
    )
  }

  async #look(folder: string): Promise<void> {
    const names = this.#todo.get(folder)
    this.#todo.delete(folder)
    if (!names || !this.folders.has(folder)) return
    if (names === 'all') return this.load(folder)
    await Promise.all([...names].map((path) => this.#lookAt(folder, path)))
  }

  async #lookAt(folder: string, path: string): Promise<void> {
    let entry: Entry | null
    try {
      entry = hiddenName(baseOf(path)) && !this.hidden ? null : await this.source.stat(path)
    } catch (error) {
      if (!(error instanceof Problem) || error.unreachable) return
      if (error.status !== 404) return void this.load(folder)
      entry = null
    }
    const before = this.folders.get(folder)
    if (!before || before.state === 'failed') return
    const others = before.entries.filter((other) => other.path !== path)
    if (!entry && others.length === before.entries.length) return
    if (!entry) this.#drop(path)
    this.#put(folder, { ...before, entries: entry ? [...others, entry] : others })
  }

  #put(path: string, folder: Folder): void {
    const before = this.rows.map(({ key }) => key)
    this.folders = new Map(this.folders).set(path, folder)
    this.selection = prune(
      before,
      this.rows.map(({ key }) => key),
      this.selection,
    )
  }

  /** A folder that is gone, with all below it. */
  #drop(path: string): void {
    const lost = [...this.folders.keys()].filter((other) => other !== this.root && within(other, path))
    if (lost.length === 0) return
    const folders = new Map(this.folders)
    for (const other of lost) {
      folders.delete(other)
      this.#loads.get(other)?.abort()
    }
    this.folders = folders
  }

  #forgetOutside(): void {
    this.folders = new Map([...this.folders].filter(([path]) => within(path, this.root)))
  }

  /** Whether a folder's content can be seen: it is the root, or it and all above it are open. */
  #isShown(path: string): boolean {
    for (let at = path; at !== this.root; at = parentOf(at)) if (at === HOME || !this.open.has(at)) return false
    return true
  }

  /** Soon: in steady change every so often, not only once it is quiet. */
  #askGit(wait: number): void {
    if (this.#gitTimer !== undefined && wait > 0) return
    clearTimeout(this.#gitTimer)
    this.#gitTimer = setTimeout(() => {
      this.#gitTimer = undefined
      const root = this.root
      this.source
        .git(root)
        .then((git) => this.root === root && (this.git = git.repository ? git : null))
        .catch(() => (this.git = null)) // no marks then
    }, wait)
  }
}

/** Of a folder's children the one that a path below it leads through. */
function childTowards(folder: string, path: string): string {
  const rest = folder === HOME ? path : path.slice(folder.length + 1)
  const name = rest.split('/')[0]!
  return folder === HOME ? name : `${folder}/${name}`
}
