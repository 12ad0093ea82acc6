/**
 * Calls back once, with whether the browser's count of an element's device
 * pixels fits its own pixel ratio. WebGL draws by the one and xterm lays out by
 * the other: where they differ, as in device emulation, text has the wrong size.
 */
export function devicePixelsAgree(element: HTMLElement, tell: (agree: boolean) => void): () => void {
  const observer = new ResizeObserver(([entry]) => {
    const counted = entry?.devicePixelContentBoxSize?.[0]
    if (!entry || entry.contentRect.width === 0) return
    observer.disconnect()
    const expected = entry.contentRect.width * window.devicePixelRatio
    tell(!counted || Math.abs(counted.inlineSize - expected) < 4)
  })
  try {
    observer.observe(element, { box: 'device-pixel-content-box' })
  } catch {
    observer.observe(element) // a browser without that box cannot disagree with itself
  }
  return () => observer.disconnect()
}
