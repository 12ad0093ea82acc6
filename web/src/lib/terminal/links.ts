const SAFE = new Set(['http:', 'https:', 'mailto:'])

/** What is not seen, or turns around what is. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
const MOST_SHOWN = 120
const MOST_HOST = 80

function safeUrl(uri: string): URL | null {
  try {
    const url = new URL(uri)
    return SAFE.has(url.protocol) ? url : null
  } catch {
    return null
  }
}

/** The address if a terminal may open it, else null. Output is hostile: javascript: and file: are not links. */
export function safeLink(uri: string): string | null {
  return safeUrl(uri)?.href ?? null
}

export function openLink(uri: string): void {
  const href = safeLink(uri)
  if (href) window.open(href, '_blank', 'noopener,noreferrer')
}

/** Where a link leads, for a person to read. The host's end is always there: it says whose it is. */
export function shownAddress(uri: string, most = MOST_SHOWN): string {
  const url = safeUrl(uri)
  if (!url?.host) return cut((url?.href ?? uri).replace(UNSEEN, ''), most)
  // A name and a password before the host are left out: they are there to look like one.
  const host = url.host.length > MOST_HOST ? `…${url.host.slice(1 - MOST_HOST)}` : url.host
  const start = `${url.protocol}//${host}`
  return start + cut((url.pathname + url.search + url.hash).replace(UNSEEN, ''), most - start.length)
}

/** At most so long, without its middle. */
function cut(text: string, most: number): string {
  const half = Math.floor((most - 1) / 2)
  return text.length > most ? `${text.slice(0, half)}…${text.slice(-half)}` : text
}
