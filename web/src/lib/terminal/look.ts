import type { ITheme } from '@xterm/xterm'
import { cellOf } from './measure'
import type { Look } from './wire'

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'] as const
const BRIGHT = ['brightBlack', 'brightRed', 'brightGreen', 'brightYellow', 'brightBlue', 'brightMagenta', 'brightCyan', 'brightWhite'] as const

/** What the guest tells programs that ask for colours and the size of a cell. */
export function lookOf(theme: ITheme, fontSize: number): Look {
  const cell = cellOf(fontSize)
  return {
    theme: {
      fg: theme.foreground ?? '',
      bg: theme.background ?? '',
      cursor: theme.cursor ?? '',
      palette: [...NAMES, ...BRIGHT].map((name) => theme[name] ?? ''),
    },
    cell_px: [Math.round(cell.width), Math.round(cell.height)],
  }
}
