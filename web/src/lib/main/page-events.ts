/** Calls back whenever the page may have been away: its socket could be dead, or its turn to reconnect. */
export function keepAwareOfThePage(back: () => void): () => void {
  const visible = () => {
    if (document.visibilityState === 'visible') back()
  }
  const events = ['focus', 'pageshow', 'online', 'offline'] as const
  for (const name of events) addEventListener(name, back)
  document.addEventListener('visibilitychange', visible)
  return () => {
    for (const name of events) removeEventListener(name, back)
    document.removeEventListener('visibilitychange', visible)
  }
}

/** Keeps an element as high as what a phone's keyboard leaves free; not every browser shrinks the page itself. */
export function visualViewportHeight(element: HTMLElement): (() => void) | void {
  const viewport = window.visualViewport
  if (!viewport) return
  const update = () => {
    element.style.setProperty('--shown-height', `${Math.round(viewport.height)}px`)
    element.style.translate = `0 ${Math.round(viewport.offsetTop)}px`
  }
  update()
  viewport.addEventListener('resize', update)
  viewport.addEventListener('scroll', update)
  return () => {
    viewport.removeEventListener('resize', update)
    viewport.removeEventListener('scroll', update)
  }
}
