import type { Terminal } from '@xterm/xterm'

/** All that a terminal shows, a line for each row: every cell with its width, colours and attributes. */
export function cellsOf(term: Terminal): string[] {
  const buffer = term.buffer.active
  const rows: string[] = []
  for (let y = 0; y < term.rows; y++) {
    const line = buffer.getLine(buffer.baseY + y)
    let row = line?.isWrapped ? '↪' : ''
    let last = ''
    for (let x = 0; line && x < term.cols; x++) {
      const cell = line.getCell(x)
      if (!cell) break
      const style = [
        cell.getFgColorMode(), cell.getFgColor(), cell.getBgColorMode(), cell.getBgColor(),
        cell.isBold(), cell.isDim(), cell.isItalic(), cell.isUnderline(), cell.isBlink(), cell.isInverse(), cell.isInvisible(), cell.isStrikethrough(), cell.isOverline(),
      ].map(Number).join(',')
      if (style !== last) row += `‹${style}›`
      last = style
      row += cell.getWidth() === 2 ? `[${cell.getChars()}]` : cell.getChars() || (cell.getWidth() === 0 ? '' : ' ')
    }
    rows.push(row)
  }
  const m = term.modes
  rows.push(`cursor ${buffer.cursorX},${buffer.cursorY} ${buffer.type}`, JSON.stringify(m))
  return rows
}
