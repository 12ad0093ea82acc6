// A wire between page and guest that a test moves by hand, message by message,
// and cuts where it likes.

import type { Socket } from '../src/lib/terminal/link'
import type { Bytes } from '../src/lib/terminal/wire'
import type { FakeConnection, FakeGuest } from './fake-guest'

/** mulberry32: small, seeded, good enough to choose where to cut. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export class Wire implements Socket {
  onopen: Socket['onopen'] = null
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  up: Bytes[] = []
  down: Bytes[] = []
  opened = false
  cutOff = false
  /** The code the page closed with. */
  closedWith: number | undefined
  readonly server: FakeConnection

  constructor(private readonly guest: FakeGuest) {
    this.server = guest.accept({
      send: (message) => this.down.push(message),
      close: (code, reason) => {
        this.down = []
        this.#closed(code, reason)
      },
    })
  }

  open(): void {
    if (this.opened || this.cutOff) return
    this.opened = true
    this.onopen?.({} as Event)
  }

  send(message: Bytes): void {
    if (!this.cutOff) this.up.push(new Uint8Array(message))
  }

  close(code?: number): void {
    this.closedWith = code
    this.cut(false)
  }

  deliverUp(): void {
    const message = this.up.shift()
    if (message) this.server.receive(message)
  }

  deliverDown(): void {
    const message = this.down.shift()
    if (message) this.onmessage?.({ data: message.slice().buffer } as MessageEvent<unknown>)
  }

  /** Both ends lose what is under way; what was already at the server's door may still go in. */
  cut(late: boolean): void {
    if (this.cutOff) return
    this.cutOff = true
    if (late) while (this.up.length > 0) this.deliverUp()
    else this.guest.leave(this.server)
    this.#closed(1006, '')
  }

  #closed(code: number, reason: string): void {
    this.cutOff = true
    this.up = []
    this.down = []
    const onclose = this.onclose
    this.onclose = null
    onclose?.({ code, reason } as CloseEvent)
  }
}
