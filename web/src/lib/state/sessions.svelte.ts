import { api } from '$lib/api/api'
import type { Session } from '$lib/api/types'

const LAST = 'staithe.last'

/** The person's sessions, as last heard. */
class Sessions {
  list = $state.raw<Session[]>([])
  loaded = $state(false)

  async refresh(): Promise<Session[]> {
    this.list = await api.sessions()
    this.loaded = true
    return this.list
  }

  find(nameOrId: string): Session | undefined {
    return this.list.find((session) => session.name === nameOrId || session.id === nameOrId)
  }

  /** Puts in a session as the server just described it. */
  put(session: Session): void {
    const known = this.list.some(({ id }) => id === session.id)
    this.list = known ? this.list.map((old) => (old.id === session.id ? session : old)) : [...this.list, session]
  }

  remove(id: string): void {
    this.list = this.list.filter((session) => session.id !== id)
  }

  clear(): void {
    this.list = []
    this.loaded = false
  }

  /** The session to land in: the last one used on this device, else main, else the first. */
  home(): Session | undefined {
    let last: string | null = null
    try {
      last = localStorage.getItem(LAST)
    } catch {
      // No storage: main will do.
    }
    return this.list.find(({ id }) => id === last) ?? this.find('main') ?? this.list[0]
  }

  remember(session: Session): void {
    try {
      localStorage.setItem(LAST, session.id)
    } catch {
      // No storage: nothing to remember in.
    }
  }
}

export const sessions = new Sessions()
