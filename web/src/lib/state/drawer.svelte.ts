import { focusDrawer, focusTerminal } from './focus'

/** What the drawer shows. */
export type DrawerView = 'files' | 'search' | 'trash' | 'backups'

const KEY = 'staithe.drawer'
const LEAST = 280
const USUAL = 380

interface Saved {
  open: boolean
  width: number
  editWidth: number
}

function load(): Saved {
  const saved: Saved = { open: false, width: USUAL, editWidth: 0 }
  try {
    const read = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Saved>
    if (typeof read.open === 'boolean') saved.open = read.open
    if (typeof read.width === 'number' && read.width >= LEAST) saved.width = read.width
    if (typeof read.editWidth === 'number' && read.editWidth >= LEAST) saved.editWidth = read.editWidth
  } catch {
    // Unreadable or forbidden storage is the same as none.
  }
  return saved
}

/** A screen on which the drawer is a sheet over everything. */
const small = matchMedia('(max-width: 640px)')

/** The files drawer beside the terminal: whether it is there, and how wide. What is in it comes when it is opened. */
class Drawer {
  open = $state(false)
  view = $state<DrawerView>('files')
  /** A file is being edited: that takes more room, which is remembered by itself. */
  editing = $state(false)
  /** Uploads under way, while the drawer may be closed. */
  uploading = $state(0)
  /** Text in the editor is not saved. */
  unsaved = $state(false)
  /** What of the uploads wants a person, in words that follow "Files,"; empty: nothing. */
  trouble = $state('')
  /** Leaves the editor, then does what is asked; null: there is none. */
  leave: ((then: () => void) => void) | null = null
  /** It was opened by a person just now, who wants the keyboard in it. */
  wanted = false
  #width = $state(USUAL)
  #editWidth = $state(0)

  constructor() {
    const saved = load()
    // A sheet that covers the terminal does not open by itself.
    this.open = saved.open && !small.matches
    this.#width = saved.width
    this.#editWidth = saved.editWidth
  }

  /** CSS px; the styles keep it within the window. */
  get width(): number {
    if (!this.editing) return this.#width
    return this.#editWidth || Math.max(this.#width, Math.round(innerWidth / 2))
  }

  setWidth(width: number): void {
    const fit = Math.round(Math.min(Math.max(LEAST, width), innerWidth - 200))
    if (this.editing) this.#editWidth = fit
    else this.#width = fit
    this.#save()
  }

  /** Opens it as it was, with the keyboard in it. */
  enter(): void {
    this.wanted = true
    if (this.open) focusDrawer()
    this.open = true
    this.#save()
  }

  /** Opens it with this view, once a person said what becomes of text that is not saved. */
  show(view: DrawerView): void {
    this.enter()
    const go = () => {
      this.view = view
      queueMicrotask(focusDrawer)
    }
    if (this.leave) this.leave(go)
    else go()
  }

  close(): void {
    this.open = false
    this.#save()
    focusTerminal()
  }

  toggle(): void {
    if (this.open) this.close()
    else this.enter()
  }

  /** The shortcut: in, and from inside out again. */
  byKey(): void {
    if (this.open && document.activeElement?.closest('[data-drawer]')) this.close()
    else this.enter()
  }

  #save(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify({ open: this.open, width: this.#width, editWidth: this.#editWidth }))
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }
}

export const drawer = new Drawer()
