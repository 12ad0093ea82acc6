import { api } from '$lib/api/api'
import { Problem } from '$lib/api/client'
import type { User } from '$lib/api/types'

/** Who is logged in here. */
class Account {
  user = $state.raw<User | null>(null)
  /** False until the server has been asked once. */
  known = $state(false)

  /** Asks the server. Throws only when it could not be asked. */
  async refresh(): Promise<User | null> {
    try {
      this.user = await api.me()
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error
      this.user = null
    }
    this.known = true
    return this.user
  }

  async logout(): Promise<void> {
    try {
      await api.logout()
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error
    }
    this.user = null
  }
}

export const account = new Account()
