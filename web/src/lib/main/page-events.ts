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

/** Tells the styles what a phone's keyboard leaves free; not every browser shrinks the page itself. */
export function followVisualViewport(): (() => void) | void {
  const viewport = window.visualViewport
  if (!viewport) return
  const root = document.documentElement.style
  const update = () => {
    // Zoomed in with two fingers it is a part of the page that is seen, not a smaller page.
    if (Math.abs(viewport.scale - 1) > 0.01) return
    root.setProperty('--shown-height', `${Math.round(viewport.height)}px`)
    root.setProperty('--shown-top', `${Math.round(viewport.offsetTop)}px`)
  }
  update()
  viewport.addEventListener('resize', update)
  viewport.addEventListener('scroll', update)
  return () => {
    viewport.removeEventListener('resize', update)
    viewport.removeEventListener('scroll', update)
    root.removeProperty('--shown-height')
    root.removeProperty('--shown-top')
  }
}
