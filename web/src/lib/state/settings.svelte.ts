import { dusk, fog } from '$lib/terminal/palettes'

export type Theme = 'system' | 'light' | 'dark'

const KEY = 'staithe.settings'
const SIZES = { least: 10, most: 24, usual: 14 }

interface Saved {
  theme: Theme
  fontSize: number
}

function load(): Saved {
  const saved: Saved = { theme: 'system', fontSize: SIZES.usual }
  try {
    const read = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Saved>
    if (read.theme === 'light' || read.theme === 'dark') saved.theme = read.theme
    if (typeof read.fontSize === 'number') saved.fontSize = limit(read.fontSize)
  } catch {
    // Unreadable or forbidden storage is the same as none.
  }
  return saved
}

function limit(size: number): number {
  return Math.min(SIZES.most, Math.max(SIZES.least, Math.round(size)))
}

/** How this browser likes the page; kept on this device only. */
class Settings {
  theme = $state<Theme>('system')
  fontSize = $state(SIZES.usual)
  #systemDark = $state(true)

  constructor() {
    Object.assign(this, load())
    const query = matchMedia('(prefers-color-scheme: dark)')
    this.#systemDark = query.matches
    query.addEventListener('change', (event) => (this.#systemDark = event.matches))
  }

  get dark(): boolean {
    return this.theme === 'dark' || (this.theme === 'system' && this.#systemDark)
  }

  get palette() {
    return this.dark ? dusk : fog
  }

  setTheme(theme: Theme): void {
    this.theme = theme
    this.#save()
  }

  setFontSize(size: number): void {
    this.fontSize = limit(size)
    this.#save()
  }

  #save(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify({ theme: this.theme, fontSize: this.fontSize }))
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }
}

export const settings = new Settings()
