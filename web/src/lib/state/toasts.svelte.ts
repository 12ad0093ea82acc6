export interface Toast {
  id: number
  text: string
  kind: 'problem' | 'done'
  /** What can be done about it, such as undoing it. */
  action?: ToastAction
}

export interface ToastAction {
  label: string
  run: () => void
}

const SHOWN_MS = 7000
const ACTION_MS = 15_000

/** Short notices at the page's edge. */
class Toasts {
  list = $state<Toast[]>([])
  #next = 0

  problem(text: string, action?: ToastAction): void {
    this.#add(text, 'problem', action)
  }

  done(text: string, action?: ToastAction): void {
    this.#add(text, 'done', action)
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id)
  }

  #add(text: string, kind: Toast['kind'], action?: ToastAction): void {
    // The same sentence twice in a row says nothing new, unless it offers something.
    if (this.list.at(-1)?.text === text && !action) return
    const id = ++this.#next
    this.list = [...this.list.slice(-2), { id, text, kind, ...(action ? { action } : {}) }]
    setTimeout(() => this.dismiss(id), action ? ACTION_MS : SHOWN_MS)
  }
}

export const toasts = new Toasts()
