import type { Entry, Kind } from '../src/lib/files/types'

/** An entry as the server sends it. */
export function entry(path: string, more: Partial<Entry> & { kind?: Kind } = {}): Entry {
  return { path, name: path.slice(path.lastIndexOf('/') + 1), kind: 'file', size: 0, mode: 0o644, mtime: '2026-01-01T00:00:00Z', ...more }
}
