// What xterm says of itself: where the pointer is, and whether it has the focus.
// It is about the screen it came from and of this moment. Nobody typed it.

/** A press is a click, a drag or the wheel; the pointer also moves without. */
export type Report = 'focus' | 'hover' | 'press'

const FOCUS = /^\x1b\[[IO]$/
const SGR = /^\x1b\[<(\d+);\d+;\d+[Mm]$/
const URXVT = /^\x1b\[(\d+);\d+;\d+M$/
const X10 = /^\x1b\[M([^])[^]{2}$/

export const FOCUS_IN = '\x1b[I'

/** Which report this is, if it is one and nothing else. */
export function reportOf(data: string): Report | null {
  if (FOCUS.test(data)) return 'focus'
  const sgr = SGR.exec(data)
  if (sgr) return pointer(Number(sgr[1]))
  const urxvt = URXVT.exec(data)
  if (urxvt) return pointer(Number(urxvt[1]) - 32)
  const x10 = X10.exec(data)
  return x10 ? pointer(x10[1]!.charCodeAt(0) - 32) : null
}

/** 32 is motion; 3 is no button, unless 64 or 128 say that it is one of the others. */
function pointer(code: number): Report {
  return (code & (32 | 64 | 128 | 3)) === (32 | 3) ? 'hover' : 'press'
}
