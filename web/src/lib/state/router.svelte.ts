export type Route =
  | { page: 'setup' | 'invite'; token: string }
  | { page: 'login' }
  | { page: 'home' }
  | { page: 'session'; session: string }
  | { page: 'lost' }

/** Where a person was going when the login stood in the way, and why it did. */
export interface Detour {
  session?: string
  why?: string
}

function parse(path: string, hash: string): Route {
  const [, first = '', second = '', ...more] = path.split('/')
  if (first === '' || path === '/index.html') return { page: 'home' }
  if (first === 'setup' || first === 'invite') return { page: first, token: decode(hash.slice(1)) }
  if (first === 'login') return { page: 'login' }
  if (first === 's' && second && more.length === 0) return { page: 'session', session: decode(second) }
  return { page: 'lost' }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The address bar. A person's move is remembered until the page it leads to has asked. */
class Router {
  route = $state.raw<Route>(parse(location.pathname, location.hash))
  #byPerson = false

  constructor() {
    // A link pasted over an open page of the same path comes here too, without a load.
    addEventListener('popstate', () => {
      this.route = parse(location.pathname, location.hash)
      this.#hideToken()
    })
    this.#hideToken()
  }

  /** What the login has to know; it stays with the address over a reload. */
  get detour(): Detour {
    return (history.state as { detour?: Detour } | null)?.detour ?? {}
  }

  go(path: string, how: { replace?: boolean; byPerson?: boolean; detour?: Detour } = {}): void {
    this.#byPerson = how.byPerson ?? false
    const state = how.detour ? { detour: how.detour } : null
    if (how.replace) history.replaceState(state, '', path)
    else history.pushState(state, '', path)
    this.route = parse(path, '')
  }

  /** A secret in the address must not stay there to be copied or remembered. */
  #hideToken(): void {
    if ('token' in this.route && location.hash) history.replaceState(null, '', location.pathname)
  }

  /** Says the address anew for where the page already is. */
  rename(path: string): void {
    history.replaceState(null, '', path)
  }

  /** Whether a person's act led here. Only that may wake a session; a reload may not. */
  takePersonsAct(): boolean {
    const act = this.#byPerson
    this.#byPerson = false
    return act
  }
}

export const router = new Router()
export const sessionPath = (name: string) => `/s/${encodeURIComponent(name)}`
