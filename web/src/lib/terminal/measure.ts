import type { Size } from './connection'
import { FONT, SCROLLBAR } from './screen.svelte'

/** What a pane keeps free, on the left and above. */
export const PADDING = { x: 10, y: 8 }

/** A cell in CSS pixels, as xterm rounds it. */
export function cellOf(fontSize: number): { width: number; height: number } {
  const context = document.createElement('canvas').getContext('2d')
  let cell = { width: fontSize * 0.6, height: fontSize * 1.32 }
  if (context) {
    context.font = `${fontSize}px ${FONT}`
    const m = context.measureText('W')
    cell = { width: m.width, height: m.fontBoundingBoxAscent + m.fontBoundingBoxDescent }
  }
  const scale = window.devicePixelRatio || 1
  return {
    width: Math.floor(cell.width * scale) / scale,
    height: Math.floor(Math.ceil(cell.height * scale) * 1.15) / scale,
  }
}

/**
 * How many cells an area holds, before any terminal is in it: a new shell
 * should start in the right size instead of being told a moment later.
 */
export function estimate(width: number, height: number, fontSize: number): Size {
  const cell = cellOf(fontSize)
  return {
    cols: Math.max(2, Math.floor((width - PADDING.x - SCROLLBAR) / cell.width)),
    rows: Math.max(1, Math.floor((height - PADDING.y) / cell.height)),
  }
}

/** xterm measures its font when it opens: the font has to be there by then. */
export async function fontReady(fontSize: number): Promise<void> {
  await Promise.all([400, 650].map((weight) => document.fonts.load(`${weight} ${fontSize}px ${FONT}`))).catch(() => [])
}
