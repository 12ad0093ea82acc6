/** What stands behind an address; what is not given, empty or false is left out. */
export function query(params: Record<string, string | number | boolean | undefined>): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== '' && value !== false) q.set(name, String(value))
  }
  const text = q.toString()
  return text ? `?${text}` : ''
}
