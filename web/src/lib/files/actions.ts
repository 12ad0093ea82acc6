import type { Desk } from './desk.svelte'
import { isReadable } from './types'
import type { Entry } from './types'

/** One line of the menu for what is selected. */
export interface Action {
  id: string
  label: string
  keys?: string
  danger?: boolean
  run: () => void
}

/** What can be done with these, in groups. */
export function actionsFor(desk: Desk, entries: readonly Entry[]): Action[][] {
  const paths = entries.map(({ path }) => path)
  const [one] = entries
  const single = entries.length === 1 && one ? one : null
  const open: Action[] = []
  if (single?.kind === 'folder') {
    open.push({ id: 'open', label: 'Open', keys: 'Enter', run: () => desk.openEntry(single) })
  } else if (single && isReadable(single)) open.push({ id: 'edit', label: 'Edit', keys: 'Enter', run: () => desk.openEntry(single) })
  const get: Action[] = []
  if (single && isReadable(single)) get.push({ id: 'download', label: 'Download', run: () => desk.download(entries) })
  else if (entries.length > 0) {
    get.push({ id: 'zip', label: 'Download as zip', run: () => desk.download(entries, 'zip') })
    get.push({ id: 'tar', label: 'Download as tar.zst', run: () => desk.download(entries, 'tar.zst') })
  }
  const change: Action[] = []
  if (single) change.push({ id: 'rename', label: 'Rename', keys: 'F2', run: () => (desk.asking = { what: 'rename', entry: single }) })
  if (entries.length > 0) {
    change.push({ id: 'move', label: 'Move to', run: () => (desk.asking = { what: 'move', paths }) })
    change.push({ id: 'copy', label: 'Copy to', run: () => (desk.asking = { what: 'copy', paths }) })
  }
  if (single && single.kind !== 'symlink') {
    change.push({ id: 'mode', label: 'Permissions', run: () => (desk.asking = { what: 'mode', entry: single }) })
  }
  const away: Action[] =
    entries.length > 0
      ? [{ id: 'trash', label: 'Put into the trash', keys: 'Delete', danger: true, run: () => void desk.trash(entries) }]
      : []
  const make: Action[] =
    entries.length > 1
      ? []
      : [
          { id: 'new-file', label: 'New file', run: () => (desk.asking = { what: 'new-file', folder: desk.here }) },
          { id: 'new-folder', label: 'New folder', run: () => (desk.asking = { what: 'new-folder', folder: desk.here }) },
        ]
  return [open, get, change, away, make].filter((group) => group.length > 0)
}
