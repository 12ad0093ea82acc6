import type { ILinkHandler } from '@xterm/xterm'
import { safeLink } from './links'

export interface OscLinkHooks {
  /** The address under the pointer; null when it has left. */
  show(uri: string | null): void
  open(uri: string): void
  /** Opens it once a person has read where it leads. */
  ask(uri: string): void
  /** Whether the pointer that was used last hovers. A tap comes as if a mouse had moved there before. */
  hovers(): boolean
}

/** The links of OSC 8, whose text says nothing of where they lead: none opens before its address was seen. */
export function oscLinks(hooks: OscLinkHooks): ILinkHandler {
  let seen: string | null = null
  const hovers = (event: MouseEvent) => (event as PointerEvent).pointerType !== 'touch' && hooks.hovers()
  return {
    allowNonHttpProtocols: true,
    activate: (event, uri) => {
      if (!safeLink(uri)) return
      if (hovers(event) && seen === uri) hooks.open(uri)
      else hooks.ask(uri)
    },
    hover: (event, uri) => {
      if (!hovers(event)) return
      seen = uri
      hooks.show(uri)
    },
    leave: () => {
      seen = null
      hooks.show(null)
    },
  }
}
