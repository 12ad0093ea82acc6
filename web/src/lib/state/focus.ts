let terminal: (() => void) | null = null

/** The main view says where the keyboard belongs when nothing else wants it. */
export function setTerminalFocus(focus: (() => void) | null): void {
  terminal = focus
}

/** For menus and dialogs that close: back to the shell instead of to their own button. */
export function focusTerminal(event?: Event): void {
  if (!terminal) return
  event?.preventDefault()
  terminal()
}
