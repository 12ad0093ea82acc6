export interface Toast {
  id: number
  text: string
  kind: 'problem' | 'done'
}

const SHOWN_MS = 7000

/** Short notices at the page's edge. */
class Toasts {
  list = $state<Toast[]>([])
  #next = 0

  problem(text: string): void {
    this.#add(text, 'problem')
  }

  done(text: string): void {
    this.#add(text, 'done')
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id)
  }

  #add(text: string, kind: Toast['kind']): void {
    // The same sentence twice in a row says nothing new.
    if (this.list.at(-1)?.text === text) return
    const id = ++this.#next
    this.list = [...this.list.slice(-2), { id, text, kind }]
    setTimeout(() => this.dismiss(id), SHOWN_MS)
  }
}

export const toasts = new Toasts()
