/** A refusal in the server's own words (RFC 9457), or what stands for one when there is no answer. */
export class Problem extends Error {
  override name = 'Problem'

  constructor(
    readonly status: number,
    readonly code: string,
    /** What the person reads. */
    readonly sentence: string,
  ) {
    super(sentence)
  }

  /** No answer at all: the network or the server is away. */
  get unreachable(): boolean {
    return this.status === 0
  }
}

async function readProblem(response: Response): Promise<Problem> {
  let code = ''
  let sentence = ''
  try {
    const body = (await response.json()) as { code?: unknown; detail?: unknown; title?: unknown }
    if (typeof body.code === 'string') code = body.code
    if (typeof body.detail === 'string') sentence = body.detail
    else if (typeof body.title === 'string') sentence = body.title
  } catch {
    // Not a problem document, for example from a proxy in between.
  }
  return new Problem(response.status, code, sentence || fallback(response.status))
}

function fallback(status: number): string {
  if (status === 401) return 'You are not logged in. Log in and try again.'
  if (status === 404) return 'That does not exist, or is not yours.'
  if (status === 429) return 'That was too often. Wait a moment and try again.'
  if (status >= 500) return 'The server could not do that. Try again in a moment.'
  return 'The server refused that. Reload the page and try again.'
}

/** Sends what is no JSON or has headers of its own. Throws a Problem when the server refuses or does not answer. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(`/api/v1${path}`, { credentials: 'same-origin', cache: 'no-store', ...init })
  } catch (error) {
    // Who called it off knows.
    if (init.signal?.aborted) throw error
    throw new Problem(0, 'unreachable', 'The server does not answer. Check your network, then try again.')
  }
  if (!response.ok) throw await readProblem(response)
  return response
}

export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await send(path, {
    method,
    headers: { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  })
  if (response.status === 204) return undefined as T
  const text = await response.text()
  return (text ? JSON.parse(text) : undefined) as T
}

/** The sentence to show for anything that was thrown. */
export function sentenceOf(error: unknown): string {
  if (error instanceof Problem) return error.sentence
  return 'Something in the page went wrong. Reload it and try again.'
}
