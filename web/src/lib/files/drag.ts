/** Says that paths of the home are dragged. Which, only this page knows: what another page drops cannot name any. */
const PATHS_TYPE = 'application/x-staithe-paths'
let dragged: string[] | null = null

export function beginDrag(data: DataTransfer, paths: Iterable<string>): void {
  dragged = [...paths]
  data.setData(PATHS_TYPE, '')
  data.effectAllowed = 'copyMove'
}

export function endDrag(): void {
  dragged = null
}

/** What is being dragged, as far as it is for us. */
export function dropKind(data: DataTransfer | null): 'files' | 'paths' | null {
  if (data?.types.includes(PATHS_TYPE)) return dragged ? 'paths' : null
  return data?.types.includes('Files') ? 'files' : null
}

/** The paths that are dragged; null: none are. */
export function pathsOf(data: DataTransfer | null): string[] | null {
  return dropKind(data) === 'paths' ? dragged : null
}
