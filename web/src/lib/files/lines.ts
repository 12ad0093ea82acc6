/** Text of a response, piece by piece. */
export async function* texts(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      yield decoder.decode(value, { stream: true })
    }
    const last = decoder.decode()
    if (last) yield last
  } finally {
    // Whoever stops reading early ends the request.
    await reader.cancel().catch(() => undefined)
  }
}

/** Lines of JSON, as they come. Throws a SyntaxError on a line that is none. */
export async function* jsonLines<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  let rest = ''
  for await (const text of texts(body)) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as T
}
