import { api } from '$lib/api/api'
import type { Session, SessionClass } from '$lib/api/types'

/** The kinds of session that the server offers, as last heard. */
class Classes {
  list = $state.raw<SessionClass[]>([])

  async refresh(): Promise<SessionClass[]> {
    this.list = await api.classes()
    return this.list
  }

  of(session: Session | null): SessionClass | undefined {
    return session ? this.list.find(({ name }) => name === session.class) : undefined
  }

  /** Whether there is something to choose: one that can be had, besides the default. */
  get choice(): boolean {
    return this.list.some((c) => c.available && !c.default)
  }

  /** What is chosen before anybody chooses: the default, or what can be had instead. */
  get first(): SessionClass | undefined {
    return this.default?.available ? this.default : (this.list.find(({ available }) => available) ?? this.default)
  }

  get default(): SessionClass | undefined {
    return this.list.find((c) => c.default)
  }
}

export const classes = new Classes()
