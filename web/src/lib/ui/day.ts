const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })

/** A date as the person's own locale writes it. */
export function day(iso: string): string {
  const date = new Date(iso)
  return Number.isNaN(date.getTime()) ? 'at an unknown time' : format.format(date)
}
