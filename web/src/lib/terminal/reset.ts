/**
 * Makes a used xterm.js 6 as new, for another shell. Its own reset (ESC c) keeps a hidden cursor, one that does not
 * blink, line feed mode (20) and the colours that a program set with OSC 4, 10, 11 and 12. What the old shell left
 * unfinished is cancelled first, or the ESC would carry it out. Like the beginning of a snapshot (internal/vt/snapshot.go).
 */
export const RESET =
  '\x18\x1b[20l\x1b[?12h\x1b[?25h\x1bc' + '\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\' + '\x1b]2;\x1b\\\x1b]1;\x1b\\'

/** Before a redraw, which says whether the cursor blinks only where a program said so: else it is as in a new page. */
export const BLINKING = new TextEncoder().encode('\x18\x1b[?12h')
