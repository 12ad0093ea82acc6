import { Problem } from '$lib/api/client'
import { backups } from '$lib/files/backups'
import type { BackupState } from '$lib/files/types'

const LOOK_MS = 5000

/** How safe the home is: asked again and again while the page is looked at. */
class BackupWatch {
  state = $state.raw<BackupState | null>(null)
  /** Nothing of it is known: the server has no backups, or does not answer. */
  away = $state<'' | 'none' | 'unreachable'>('')
  now = $state(Date.now())

  /** Asks until the function that it returns is called. */
  follow(): () => void {
    const seen = () => document.visibilityState === 'visible'
    const look = () => void (seen() && this.look())
    const clock = setInterval(() => seen() && (this.now = Date.now()), 1000)
    const timer = setInterval(look, LOOK_MS)
    document.addEventListener('visibilitychange', look)
    look()
    return () => {
      clearInterval(clock)
      clearInterval(timer)
      document.removeEventListener('visibilitychange', look)
    }
  }

  async look(): Promise<void> {
    try {
      this.take(await backups.state())
    } catch (error) {
      const missing = error instanceof Problem && (error.status === 404 || error.code === 'no_backups')
      this.away = missing ? 'none' : 'unreachable'
      if (missing) this.state = null
    }
  }

  take(state: BackupState): void {
    this.now = Date.now()
    this.state = state
    this.away = ''
  }
}

export const safetyOfHome = new BackupWatch()
