import { another, baseOf, join, parentOf } from './names'
import type { Gathered } from './gather'
import { Rate } from './rate'

/** What became of an upload. */
export type UploadState = 'waiting' | 'sending' | 'paused' | 'asking' | 'done' | 'failed' | 'skipped' | 'cancelled'

/** Why an upload stopped: there is such a file already, or what the sentence says. */
export interface Refusal {
  conflict: boolean
  sentence: string
}

export interface SendEvents {
  onProgress(sent: number): void
  /** Not given up: it is tried again by itself. */
  onTrouble(sentence: string): void
  onDone(): void
  onRefused(refusal: Refusal): void
}

/** One upload under way. */
export interface Sending {
  /** Stops; what was sent stays on the server. */
  pause(): void
  resume(): void
  /** Stops, and what was sent is thrown away. */
  cancel(): Promise<void>
}

export type Send = (what: { file: File; path: string; replace: boolean }, events: SendEvents) => Sending

/** What shall be done where there is such a name already. */
export type Answer = 'replace' | 'both' | 'skip'

/** One file on its way. */
export class Upload {
  path = $state('')
  state = $state<UploadState>('waiting')
  sent = $state(0)
  /** Why it failed, or what it waits for. */
  problem = $state('')
  replace = false
  tries = 1
  sending: Sending | null = null
  /** What was sent under a name that was taken is being thrown away; null: there is nothing of the kind. */
  ending: Promise<void> | null = null

  constructor(
    readonly id: number,
    readonly file: File,
    path: string,
    readonly batch: number,
  ) {
    this.path = path
    this.wanted = path
  }

  /** The path that it should have had. */
  readonly wanted: string

  get size(): number {
    return this.file.size
  }

  get over(): boolean {
    return ['done', 'failed', 'skipped', 'cancelled'].includes(this.state)
  }
}

const PARALLEL = 3

/** All uploads of this page, three at a time. */
export class Uploads {
  list = $state.raw<Upload[]>([])
  /** The upload whose conflict a person is asked about. */
  question = $state.raw<Upload | null>(null)
  paused = $state(false)
  perSecond = $state(0)
  /** The file is there, for whoever shows its folder. */
  onarrived: ((path: string) => void) | null = null
  #rate = new Rate()
  #next = 0
  #batch = 0
  #always = new Map<number, Answer>()
  #ticking: ReturnType<typeof setInterval> | undefined

  readonly total: number = $derived(this.list.reduce((sum, u) => (u.state === 'skipped' || u.state === 'cancelled' ? sum : sum + u.size), 0))
  readonly sent: number = $derived(
    this.list.reduce((sum, u) => (u.state === 'skipped' || u.state === 'cancelled' ? sum : sum + u.sent), 0),
  )
  readonly left: number = $derived(this.list.filter((u) => !u.over).length)
  readonly failed: number = $derived(this.list.filter((u) => u.state === 'failed').length)

  constructor(
    private readonly send: Send,
    private readonly makeFolder: (path: string) => Promise<unknown>,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** Puts files in the queue; what was answered for one batch does not hold for the next. */
  add({ files, folders }: Gathered): void {
    const batch = ++this.#batch
    const fresh = files.map(({ file, path }) => new Upload(++this.#next, file, path, batch))
    this.list = [...this.list, ...fresh]
    for (const folder of folders) {
      this.makeFolder(folder)
        .then(() => this.onarrived?.(folder))
        .catch(() => undefined) // it is there already, or the files beside it say what is wrong
    }
    this.#pump()
  }

  pauseAll(): void {
    this.paused = true
    for (const upload of this.list) if (upload.state === 'sending') this.#pause(upload)
    this.#rate.reset()
  }

  resumeAll(): void {
    this.paused = false
    for (const upload of this.list) if (upload.state === 'paused') upload.state = 'waiting'
    this.#pump()
  }

  pause(upload: Upload): void {
    if (upload.state === 'waiting') upload.state = 'paused'
    else if (upload.state === 'sending') this.#pause(upload)
    this.#pump()
  }

  resume(upload: Upload): void {
    if (upload.state !== 'paused') return
    upload.state = 'waiting'
    this.paused = false
    this.#pump()
  }

  /** Once more, from where it stopped. */
  retry(upload: Upload): void {
    if (upload.state !== 'failed') return
    upload.problem = ''
    upload.state = 'waiting'
    this.#pump()
  }

  cancel(upload: Upload): void {
    if (upload.over && upload.state !== 'failed') return
    upload.state = 'cancelled'
    void upload.sending?.cancel().catch(() => undefined) // what stays there ends by itself in a week
    upload.sending = null
    if (this.question === upload) this.question = null
    this.#pump()
  }

  cancelAll(): void {
    for (const upload of this.list) if (!upload.over) upload.state = 'cancelled'
    for (const upload of this.list) {
      if (upload.state === 'cancelled' && upload.sending) {
        void upload.sending.cancel().catch(() => undefined)
        upload.sending = null
      }
    }
    this.question = null
    this.#pump()
  }

  /** Out of the list with what is over. */
  clear(): void {
    this.list = this.list.filter((upload) => !upload.over)
    this.#rate.reset()
  }

  answer(answer: Answer, forAll: boolean): void {
    const upload = this.question
    if (!upload) return
    if (forAll) this.#always.set(upload.batch, answer)
    this.question = null
    this.#apply(upload, answer)
    this.#pump()
  }

  #pause(upload: Upload): void {
    upload.sending?.pause()
    upload.state = 'paused'
  }

  #pump(): void {
    let sending = this.list.filter((u) => u.state === 'sending').length
    for (const upload of this.list) {
      if (upload.state !== 'waiting' || sending >= PARALLEL || this.paused) continue
      this.#start(upload)
      sending++
    }
    if (!this.question) this.question = this.list.find((u) => u.state === 'asking') ?? null
    this.#tick(sending > 0)
  }

  #start(upload: Upload): void {
    upload.state = 'sending'
    if (upload.sending) return upload.sending.resume()
    if (!upload.ending) return this.#send(upload)
    // Until it is gone it takes room of the home, which this one may need.
    void upload.ending.then(() => {
      upload.ending = null
      if (upload.state === 'sending' && !upload.sending) this.#send(upload)
    })
  }

  #send(upload: Upload): void {
    upload.sending = this.send(
      { file: upload.file, path: upload.path, replace: upload.replace },
      {
        onProgress: (sent) => {
          upload.sent = sent
          upload.problem = ''
        },
        onTrouble: (sentence) => (upload.problem = sentence),
        onDone: () => this.#done(upload),
        onRefused: (refusal) => this.#refused(upload, refusal),
      },
    )
  }

  #done(upload: Upload): void {
    upload.sent = upload.size
    upload.problem = ''
    upload.state = 'done'
    upload.sending = null
    this.onarrived?.(upload.path)
    this.#pump()
  }

  #refused(upload: Upload, refusal: Refusal): void {
    if (upload.over) return
    if (!refusal.conflict) {
      upload.state = 'failed'
      upload.problem = refusal.sentence
      return this.#pump()
    }
    upload.ending = upload.sending?.cancel().catch(() => undefined) ?? null // what stays there ends by itself in a week
    upload.sending = null
    upload.sent = 0
    const always = this.#always.get(upload.batch)
    // The name that was made up for it may be taken, too; the answer stays.
    if (upload.tries > 1) this.#apply(upload, 'both')
    else if (always) this.#apply(upload, always)
    else upload.state = 'asking'
    this.#pump()
  }

  #apply(upload: Upload, answer: Answer): void {
    if (answer === 'skip') {
      upload.state = 'skipped'
      return
    }
    if (answer === 'replace') upload.replace = true
    else upload.path = join(parentOf(upload.wanted), another(baseOf(upload.wanted), ++upload.tries))
    upload.state = 'waiting'
  }

  #tick(on: boolean): void {
    if (!on) {
      clearInterval(this.#ticking)
      this.#ticking = undefined
      this.perSecond = 0
      this.#rate.reset()
    } else this.#ticking ??= setInterval(() => this.#measure(), 500)
  }

  #measure(): void {
    const now = this.clock()
    this.#rate.take(now, this.sent)
    this.perSecond = this.#rate.perSecond(now)
  }
}
