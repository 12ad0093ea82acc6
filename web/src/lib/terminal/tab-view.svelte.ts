import { Recorder } from './recorder'
import type { Screen } from './screen.svelte'
import type { Ended, Stream } from './stream'

/** What the page shows of one attached tab. */
export class TabView {
  ended = $state.raw<Ended | null>(null)
  attached = $state(false)
  driver = $state(false)
  /** The server says its size, also while the link is down: what is missing was drawn for the size it had. */
  sized = $state(false)
  /** Typed, never delivered: shown until the person has seen it. */
  lost = $state('')
  readonly recorder: Recorder | null

  constructor(
    readonly tab: string,
    readonly screen: Screen,
    record: boolean,
  ) {
    this.recorder = record ? new Recorder() : null
  }

  follow(stream: Stream): void {
    this.ended = stream.ended
    this.attached = stream.channel !== null
    this.driver = stream.driver
    this.sized = stream.output.epoch !== null && (this.attached || !stream.ended)
    this.screen.driver = stream.driver
  }
}
