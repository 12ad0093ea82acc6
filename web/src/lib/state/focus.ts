let terminal: (() => void) | null = null
let bar: (() => void) | null = null
let drawer: (() => void) | null = null

/** The main view says where the keyboard belongs when nothing else wants it. */
export function setTerminalFocus(focus: (() => void) | null): void {
  terminal = focus
}

/** The bar above the terminal says where the keyboard enters it. */
export function setBarFocus(focus: (() => void) | null): void {
  bar = focus
}

/** The files drawer says where the keyboard enters it. */
export function setDrawerFocus(focus: (() => void) | null): void {
  drawer = focus
}

/** For what was opened from the drawer and closes: back into it, or to the shell when it is gone. */
export function focusDrawer(event?: Event): void {
  if (!drawer) return focusTerminal(event)
  event?.preventDefault()
  drawer()
}

/** For menus and dialogs that close: back to the shell instead of to their own button. */
export function focusTerminal(event?: Event): void {
  if (!terminal) return
  event?.preventDefault()
  terminal()
}

/** A terminal takes every key, Tab too: this is the way out of it. */
export function focusBar(): void {
  bar?.()
}

/** Whether somebody works in a dialog, a menu, the files drawer or along the tabs: the keyboard is not to be taken from there. */
export function focusTaken(): boolean {
  return document.activeElement?.closest('[role=dialog], [role=menu], [role=tablist], [data-drawer]') != null
}
