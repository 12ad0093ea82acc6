import { account } from './account.svelte'
import { router, sessionPath } from './router.svelte'
import { sessions } from './sessions.svelte'

/** To the login, and from there back to the session. */
export function toLogin(session: string | null, why = ''): void {
  account.user = null
  sessions.clear()
  router.go('/login', { replace: true, detour: { ...(session ? { session } : {}), ...(why ? { why } : {}) } })
}

/** After a login: into the session wanted, the last one, or the first. That is a person's act and may wake it. */
export async function arrive(): Promise<void> {
  const { session: goal } = router.detour
  await account.refresh()
  await sessions.refresh()
  const session = (goal && sessions.find(goal)) || sessions.home()
  router.go(session ? sessionPath(session.name) : '/', { replace: true, byPerson: true })
}
