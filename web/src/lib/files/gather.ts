import { join, typed } from './names'

/** A file of the person's own machine, and the path it shall have. */
export interface Given {
  file: File
  path: string
}

export interface Gathered {
  files: Given[]
  /** Folders with nothing in them, which no file brings along. */
  folders: string[]
}

/** What an <input type=file> has, with or without folders. */
export function fromInput(list: Iterable<File>, folder: string): Gathered {
  const files = [...list].map((file) => {
    const parts = (file.webkitRelativePath || file.name).split('/').map(typed)
    return { file, path: parts.reduce(join, folder) }
  })
  return { files, folders: [] }
}

/**
 * What was dropped, folders with all below them. To be called in the event itself: afterwards the browser has let go
 * of it. Rejects when something cannot be read.
 */
export function fromDrop(data: DataTransfer, folder: string): Promise<Gathered> {
  const entries: FileSystemEntry[] = []
  const loose: File[] = []
  for (const item of data.items) {
    if (item.kind !== 'file') continue
    const entry = item.webkitGetAsEntry?.()
    const file = entry ? null : item.getAsFile()
    if (entry) entries.push(entry)
    else if (file) loose.push(file)
  }
  return walkAll(entries, folder, fromInput(loose, folder))
}

async function walkAll(entries: FileSystemEntry[], folder: string, out: Gathered): Promise<Gathered> {
  for (const entry of entries) await walk(entry, folder, out)
  return out
}

async function walk(entry: FileSystemEntry, folder: string, out: Gathered): Promise<void> {
  const path = join(folder, typed(entry.name))
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    out.files.push({ file, path })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  let empty = true
  for (;;) {
    // A reader gives a part at a time, and an empty one at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) break
    empty = false
    await walkAll(some, path, out)
  }
  if (empty) out.folders.push(path)
}
