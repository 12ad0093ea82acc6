import { baseOf, shownText } from './names'
import type { Upload } from './uploads.svelte'

/** Tells of uploads that want a person while nobody sees them: the first that failed, and each question. */
export class UploadNotice {
  #failed: ReadonlySet<Upload> = new Set()
  #told = false
  #question: Upload | null = null

  constructor(private readonly tell: (text: string) => void) {}

  /** How the uploads are, and whether they are seen. */
  look({ list, question }: { list: readonly Upload[]; question: Upload | null }, seen: boolean): void {
    const failed = new Set(list.filter(({ state }) => state === 'failed'))
    const fresh = [...failed].find((upload) => !this.#failed.has(upload))
    if (seen || failed.size < this.#failed.size) this.#told = false
    this.#failed = failed
    if (fresh && !seen && !this.#told) {
      this.#told = true
      this.tell(`${shownText(baseOf(fresh.path))} was not uploaded: ${fresh.problem}`)
    }
    if (question && question !== this.#question && !seen) {
      this.tell(`There is a ${shownText(baseOf(question.wanted))} already: the upload waits for your answer.`)
    }
    this.#question = question
  }
}
