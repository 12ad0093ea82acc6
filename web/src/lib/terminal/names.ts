const NAME = /^[a-z0-9][a-z0-9-]{0,38}$/

export const NAME_RULE = 'Use 1 to 39 of a–z, 0–9 and -, not starting with -.'

export function validName(name: string): boolean {
  return NAME.test(name)
}

/** The name of the next tab: main, then sh-2, sh-3 and on. */
export function nextTabName(taken: Iterable<string>): string {
  const names = new Set(taken)
  if (!names.has('main')) return 'main'
  let n = 2
  while (names.has(`sh-${n}`)) n++
  return `sh-${n}`
}
