/** A character as the Ctrl key makes it, or itself where Ctrl has no meaning. */
export function controlled(key: string): string {
  if (key === ' ' || key === '@') return '\0'
  if (key === '?') return '\x7f'
  const code = key.toUpperCase().charCodeAt(0)
  return key.length === 1 && code >= 0x41 && code <= 0x5f ? String.fromCharCode(code - 0x40) : key
}

export type Arrow = 'up' | 'down' | 'right' | 'left'
const finals: Record<Arrow, string> = { up: 'A', down: 'B', right: 'C', left: 'D' }

export function arrow(which: Arrow, applicationMode: boolean, ctrl: boolean): string {
  if (ctrl) return `\x1b[1;5${finals[which]}`
  return `\x1b${applicationMode ? 'O' : '['}${finals[which]}`
}

export type Command =
  | { do: 'new' | 'close' | 'find' | 'copy' | 'bar' | 'files' }
  | { do: 'step'; by: 1 | -1 }
  | { do: 'go'; index: number }

/**
 * The page's own keys. Browsers keep Ctrl+Shift+T and W for themselves in an
 * ordinary window, so Alt+Shift does the same.
 */
export function shortcut(event: KeyboardEvent): Command | null {
  const { ctrlKey, altKey, shiftKey, metaKey, code } = event
  if (metaKey) return null
  if (altKey && !ctrlKey && !shiftKey && /^Digit[1-9]$/.test(code)) return { do: 'go', index: Number(code[5]) - 1 }
  if (!shiftKey || ctrlKey === altKey) return null
  switch (code) {
    case 'KeyT':
      return { do: 'new' }
    case 'KeyW':
      return { do: 'close' }
    case 'ArrowLeft':
      return { do: 'step', by: -1 }
    case 'ArrowRight':
      return { do: 'step', by: 1 }
    case 'KeyF':
      return { do: ctrlKey ? 'find' : 'files' }
    case 'KeyB':
      return altKey ? { do: 'bar' } : null
    case 'KeyC':
      return ctrlKey ? { do: 'copy' } : null
    default:
      return null
  }
}
