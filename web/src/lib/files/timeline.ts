import type { Snapshot } from './types'
import { dayWords } from './words'

/** Snapshots by the day that they were made on, newest first. */
export function byDay(snapshots: readonly Snapshot[], now: number): Array<{ day: string; snapshots: Snapshot[] }> {
  const days: Array<{ day: string; snapshots: Snapshot[] }> = []
  for (const snapshot of snapshots.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))) {
    const day = dayWords(snapshot.at, now)
    if (days.at(-1)?.day !== day) days.push({ day, snapshots: [] })
    days.at(-1)!.snapshots.push(snapshot)
  }
  return days
}
