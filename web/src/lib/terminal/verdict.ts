// What a closed connection means for a person, and what happens next.

/** Why there is no connection, and whether trying again can help. */
export type Verdict =
  | { kind: 'retry'; why: string; pace: 'at-once' | 'normal' | 'slow' }
  | { kind: 'asleep'; why: string }
  | { kind: 'login'; why: string }
  | { kind: 'replaced' }
  | { kind: 'gone'; why: string }
  | { kind: 'stopped'; why: string }

export const LOGIN_ENDED = 'Your login has ended: it was taken back, or the account was changed. Log in to go on.'

/** A reason as a person reads it: close reasons are written like error texts, small and without a full stop. */
export function sentence(reason: string): string {
  if (reason === '') return ''
  return reason[0]!.toUpperCase() + reason.slice(1) + (/[.!?]$/.test(reason) ? '' : '.')
}

/** The table of close codes in the protocol. A reason, where the server gave one, is its own sentence. */
export function closeVerdict(code: number, reason: string): Verdict {
  const why = (fallback: string) => sentence(reason) || fallback
  switch (code) {
    case 1001:
      return { kind: 'retry', why: 'The server is restarting.', pace: 'at-once' }
    case 4400:
      return { kind: 'stopped', why: `Page and server did not understand each other (${reason || 'no reason given'}). Reload the page.` }
    case 4401:
      return { kind: 'login', why: LOGIN_ENDED }
    case 4403:
      return { kind: 'stopped', why: why('You may not open this session. Ask its owner.') }
    case 4404:
      return { kind: 'gone', why: why('See the list of sessions for the right name.') }
    case 4409:
      return { kind: 'replaced' }
    case 4410:
      return { kind: 'gone', why: 'It was deleted. Your files are kept.' }
    case 4412:
      return { kind: 'asleep', why: why('It was put to sleep.') }
    case 4429:
      return { kind: 'retry', why: why('Too many connections are open.'), pace: 'slow' }
    case 4408:
      return { kind: 'retry', why: 'The connection was too slow to start.', pace: 'normal' }
    default:
      return { kind: 'retry', why: 'The connection dropped.', pace: 'normal' }
  }
}
