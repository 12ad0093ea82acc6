// The text of server-sent events, piece by piece.

export interface ServerEvent {
  id: string
  event: string
  data: string
}

/** Takes text as it comes and gives the events that have become whole (HTML standard, 9.2.6). Comments are nothing. */
export class EventParser {
  #rest = ''
  #id = ''
  #event = ''
  #data: string[] = []

  take(text: string): ServerEvent[] {
    const events: ServerEvent[] = []
    this.#rest += text
    // A lone CR at the end may be half of a CRLF.
    const whole = /\r$/.test(this.#rest) ? this.#rest.slice(0, -1) : this.#rest
    const lines = whole.split(/\r\n|\n|\r/)
    this.#rest = lines.pop()! + this.#rest.slice(whole.length)
    for (const line of lines) {
      if (line !== '') this.#field(line)
      else if (this.#data.length > 0) events.push(this.#finish())
      else this.#event = ''
    }
    return events
  }

  #field(line: string): void {
    const at = line.indexOf(':')
    if (at === 0) return
    const name = at < 0 ? line : line.slice(0, at)
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '')
    if (name === 'data') this.#data.push(value)
    else if (name === 'event') this.#event = value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
  }

  #finish(): ServerEvent {
    const event = { id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') }
    this.#event = ''
    this.#data = []
    return event
  }
}
