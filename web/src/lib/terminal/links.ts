const SAFE = new Set(['http:', 'https:', 'mailto:'])

/** The address if a terminal may open it, else null. Output is hostile: javascript: and file: are not links. */
export function safeLink(uri: string): string | null {
  try {
    const url = new URL(uri)
    return SAFE.has(url.protocol) ? url.href : null
  } catch {
    return null
  }
}

export function openLink(uri: string): void {
  const href = safeLink(uri)
  if (href) window.open(href, '_blank', 'noopener,noreferrer')
}
