import { api } from '$lib/api/api'
import { Problem } from '$lib/api/client'
import type { User } from '$lib/api/types'

/** Who is logged in here. */
class Account {
  user = $state.raw<User | null>(null)

  /** Asks the server. Throws only when it could not be asked. */
  async refresh(): Promise<User | null> {
    try {
      this.user = await api.me()
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error
      this.user = null
    }
    return this.user
  }

  /** Whether the login still holds. Changes nothing: who finds that it does not says where to go. */
  async holds(): Promise<boolean> {
    try {
      await api.me()
      return true
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return false
      throw error
    }
  }

  /** Ends the login; the caller leads to the login page. */
  async logout(): Promise<void> {
    try {
      await api.logout()
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error
    }
  }
}

export const account = new Account()
