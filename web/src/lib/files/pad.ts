import { defaultKeymap, history, historyKeymap, indentWithTab, isolateHistory } from '@codemirror/commands'
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState, Text } from '@codemirror/state'
import type { Extension } from '@codemirror/state'
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from '@codemirror/view'
import { lineBreakOf } from './edit.svelte'
import type { Edit, Pad } from './edit.svelte'

/** The text of an edit in CodeMirror, with its cursor and history: kept while nothing of it is drawn. */
export class CodePad implements Pad {
  /** What Mod-S does; set by whoever draws it. */
  onsave: () => void = () => {}
  #state: EditorState
  #view: EditorView | null = null
  readonly #look = new Compartment()
  readonly #breaks = new Compartment()

  constructor(private readonly edit: Edit) {
    this.#state = this.#begin(edit.loaded?.text ?? '')
    edit.pad = this
  }

  /** The pad of an edit: the one it has, or a new one. */
  static of(edit: Edit): { pad: CodePad; fresh: boolean } {
    const had = edit.pad instanceof CodePad ? edit.pad : null
    return { pad: had ?? new CodePad(edit), fresh: !had }
  }

  text(): string {
    return this.#now.sliceDoc()
  }

  replace(text: string): void {
    const line = lineBreakOf(text)
    const next = Text.of(text.split(line))
    const old = this.#now.doc.toString()
    const fresh = next.toString() // both with \n between the lines, which count one each
    const least = Math.min(old.length, fresh.length)
    let head = 0
    while (head < least && old[head] === fresh[head]) head++
    let tail = 0
    while (tail < least - head && old[old.length - 1 - tail] === fresh[fresh.length - 1 - tail]) tail++
    const change = this.#now.update({
      changes: { from: head, to: old.length - tail, insert: next.slice(head, fresh.length - tail) },
      effects: this.#breaks.reconfigure(EditorState.lineSeparator.of(line)),
      // One step to undo, whatever was typed just before.
      annotations: isolateHistory.of('full'),
    })
    if (this.#view) return this.#view.dispatch(change)
    this.#state = change.state
    this.edit.typed()
  }

  /** Draws it. */
  show(host: HTMLElement): void {
    this.hide()
    this.#view = new EditorView({ parent: host, state: this.#state })
  }

  /** Draws it no more; what it holds stays. */
  hide(): void {
    if (!this.#view) return
    this.#state = this.#view.state
    this.#view.destroy()
    this.#view = null
  }

  focus(): void {
    this.#view?.focus()
  }

  /** How it is named to a screen reader, and whether it is dark. */
  dress(label: string, dark: boolean): void {
    const change = { effects: this.#look.reconfigure(dressOf(label, dark)) }
    if (this.#view) this.#view.dispatch(change)
    else this.#state = this.#state.update(change).state
  }

  get #now(): EditorState {
    return this.#view?.state ?? this.#state
  }

  #begin(doc: string): EditorState {
    return EditorState.create({
      doc,
      extensions: [
        // A text gives the same bytes again that it was made of.
        this.#breaks.of(EditorState.lineSeparator.of(lineBreakOf(doc))),
        lineNumbers(),
        highlightActiveLineGutter(),
        highlightActiveLine(),
        // What cannot be seen, or turns the writing, is shown as what it is.
        highlightSpecialChars(),
        history(),
        drawSelection(),
        search({ top: true }),
        highlightSelectionMatches(),
        keymap.of([
          {
            key: 'Mod-s',
            preventDefault: true,
            run: () => {
              this.onsave()
              return true
            },
          },
          ...searchKeymap,
          ...historyKeymap,
          ...defaultKeymap,
          indentWithTab,
        ]),
        this.#look.of(dressOf('Text', false)),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.edit.typed()
        }),
      ],
    })
  }
}

function dressOf(label: string, dark: boolean): Extension {
  return [
    EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', autocapitalize: 'off' }),
    EditorView.theme({}, { dark }),
  ]
}
