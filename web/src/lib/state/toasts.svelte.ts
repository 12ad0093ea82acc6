export interface Toast {
  id: number
  text: string
  kind: 'problem' | 'done' | 'program'
  /** What can be done about it, such as undoing it. */
  action?: ToastAction
  /** The tab whose program says it, and the name it had. */
  from?: { tab: string; name: string }
}

export interface ToastAction {
  label: string
  run: () => void
}

const SHOWN_MS = 7000
const ACTION_MS = 15_000
const MOST = 3

type Rank = Toast['kind'] | 'action'

/**
 * Which goes when there would be too many, the first kind first. Errors, and what offers something, go only for their
 * like: rather there are more.
 */
const MAKES_ROOM: Record<Rank, Rank[]> = {
  program: ['program', 'done'],
  done: ['done', 'program'],
  problem: ['done', 'program', 'problem'],
  action: ['done', 'program', 'action'],
}

const rank = (toast: Toast): Rank => (toast.action ? 'action' : toast.kind)

/** How long a toast is still shown. */
class TimeLeft {
  #since = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private ms: number,
    private readonly over: () => void,
  ) {}

  run(): void {
    this.#since = performance.now()
    this.#timer = setTimeout(this.over, this.ms)
  }

  stop(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.ms -= performance.now() - this.#since
  }
}

/** Short notices at the page's edge. */
export class Toasts {
  list = $state<Toast[]>([])
  #next = 0
  #visible = true
  #times = new Map<number, TimeLeft>()

  problem(text: string, action?: ToastAction): void {
    this.#say('problem', text, action)
  }

  done(text: string, action?: ToastAction): void {
    this.#say('done', text, action)
  }

  /** What a program wants to be known. Each tab has one place, or a loop would fill the page. */
  program(tab: string, name: string, text: string): void {
    const said = { text, from: { tab, name } }
    const at = this.list.findIndex(({ from }) => from?.tab === tab)
    if (at < 0) return this.#add({ kind: 'program', ...said })
    Object.assign(this.list[at]!, said)
    this.#show(this.list[at]!)
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id)
    this.#times.get(id)?.stop()
    this.#times.delete(id)
  }

  /** Whether anybody can see the page: time passes only then. */
  set visible(visible: boolean) {
    if (visible === this.#visible) return
    this.#visible = visible
    for (const time of this.#times.values()) if (visible) time.run()
    else time.stop()
  }

  #say(kind: 'problem' | 'done', text: string, action?: ToastAction): void {
    const last = this.list.at(-1)
    // The same sentence twice in a row says nothing new, unless it offers something.
    if (last?.kind === kind && last.text === text && !action) return
    this.#add({ text, kind, ...(action ? { action } : {}) })
  }

  #add(words: Omit<Toast, 'id'>): void {
    const toast = { ...words, id: ++this.#next }
    if (this.list.length >= MOST) this.#makeRoom(MAKES_ROOM[rank(toast)])
    this.list = [...this.list, toast]
    this.#show(toast)
  }

  #makeRoom(kinds: Rank[]): void {
    const goes = kinds.map((kind) => this.list.find((toast) => rank(toast) === kind)).find(Boolean)
    if (goes) this.dismiss(goes.id)
  }

  #show(toast: Toast): void {
    this.#times.get(toast.id)?.stop()
    const time = new TimeLeft(toast.action ? ACTION_MS : SHOWN_MS, () => this.dismiss(toast.id))
    this.#times.set(toast.id, time)
    if (this.#visible) time.run()
  }
}

export const toasts = new Toasts()
