import { account } from './account.svelte'
import { router, sessionPath } from './router.svelte'
import { sessions } from './sessions.svelte'

let goal: string | null = null

/** Remembers where a person was going when the login stood in the way. */
export function comeBackTo(session: string | null): void {
  goal = session
}

/** After a login: into the session wanted, the last one, or the first. That is a person's act and may wake it. */
export async function arrive(): Promise<void> {
  await account.refresh()
  await sessions.refresh()
  const session = (goal && sessions.find(goal)) || sessions.home()
  goal = null
  router.go(session ? sessionPath(session.name) : '/', { replace: true, byPerson: true })
}
