// Names of files are bytes. The server writes them in percent form: UTF-8 as it is, and as %XX the percent sign, bytes
// that are not UTF-8, and characters that control a screen or turn the direction of writing. That form is what the page
// keeps and sends; what a person reads is made of it here.

/** The home itself. */
export const HOME = '.'

/** A part of a shown name: text as it is, or what stands for something that must not be drawn. */
export interface Part {
  text: string
  odd: boolean
}

/** What may not stand in a name as it is, as in the server's own rule: controls, formats, separators, private use. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}]/u
const bytesOf = new TextEncoder()
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const hex = (byte: number) => byte.toString(16).toUpperCase().padStart(2, '0')

/** One byte or more that a name has as %XX, in words: a character that is known, or the bytes. */
function explain(bytes: number[]): Part[] {
  const parts: Part[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = characterAt(bytes, at)
    const text = length > 0 ? strict.decode(Uint8Array.from(bytes.slice(at, at + length))) : ''
    if (text === '%') parts.push({ text, odd: false })
    else if (text) parts.push({ text: `‹U+${text.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}›`, odd: true })
    else parts.push({ text: `‹${hex(bytes[at]!)}›`, odd: true })
    at += Math.max(1, length)
  }
  return parts
}

/** How many bytes the character here has; 0: these bytes are none. */
function characterAt(bytes: number[], at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    try {
      strict.decode(Uint8Array.from(bytes.slice(at, at + length)))
      return length
    } catch {
      // Not whole yet, or never.
    }
  }
  return 0
}

/**
 * A name in percent form as it is shown. Nothing in it can turn or hide its neighbours: should the server send such a
 * character as it is, it is replaced here all the same.
 */
export function shown(name: string): Part[] {
  const parts: Part[] = []
  const add = (part: Part) => {
    const last = parts.at(-1)
    if (last && last.odd === part.odd) last.text += part.text
    else parts.push({ ...part })
  }
  for (const piece of name.split(/((?:%[0-9A-Fa-f]{2})+)/)) {
    if (/^%[0-9A-Fa-f]{2}/.test(piece)) {
      explain([...piece.matchAll(/%(..)/g)].map((m) => parseInt(m[1]!, 16))).forEach(add)
      continue
    }
    for (const character of piece) {
      if (UNSHOWN.test(character)) explain([...bytesOf.encode(character)]).forEach(add)
      else add({ text: character, odd: false })
    }
  }
  return parts
}

/** The same as one text: for labels, titles and sentences. */
export function shownText(name: string): string {
  return shown(name)
    .map(({ text }) => text)
    .join('')
}

/** Whether a name can be typed: nothing in it is more than a percent sign in disguise. */
export function typable(name: string): boolean {
  return shown(name).every(({ odd }) => !odd)
}

/** A name that a person typed, in percent form. */
export function typed(text: string): string {
  return [...text].map((c) => (c === '%' || UNSHOWN.test(c) ? [...bytesOf.encode(c)].map((b) => `%${hex(b)}`).join('') : c)).join('')
}

/** Why a typed name cannot be one; empty: it can. */
export function nameProblem(text: string): string {
  if (text === '') return 'Give it a name.'
  if (text === '.' || text === '..') return 'This name means a folder already. Choose another.'
  if (text.includes('/')) return 'A name has no slash.'
  if (text.includes('\0')) return 'A name has no zero byte.'
  if (bytesOf.encode(text).length > 255) return 'A name has at most 255 bytes. Shorten it.'
  return ''
}

export function join(folder: string, name: string): string {
  return folder === HOME ? name : `${folder}/${name}`
}

export function parentOf(path: string): string {
  const at = path.lastIndexOf('/')
  return at < 0 ? HOME : path.slice(0, at)
}

export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Whether a path is the other or lies below it. */
export function within(path: string, folder: string): boolean {
  return folder === HOME || path === folder || path.startsWith(`${folder}/`)
}

/** The folders from the home to a path, itself last. */
export function crumbs(path: string): string[] {
  if (path === HOME) return [HOME]
  const parts = path.split('/')
  return [HOME, ...parts.map((_, at) => parts.slice(0, at + 1).join('/'))]
}

/** The name before its ending, and the ending: "a.tar.gz" is "a" and ".tar.gz"; a dot in front is no ending. */
export function splitEnding(name: string): [string, string] {
  const m = /^(.+?)((?:\.tar)?\.[A-Za-z0-9]{1,10})$/.exec(name)
  return m ? [m[1]!, m[2]!] : [name, '']
}

/** The nth other name for the same thing: "plan (2).txt". */
export function another(name: string, n: number): string {
  const [stem, ending] = splitEnding(name)
  return `${stem} (${n})${ending}`
}

/** Whether the name is that of a hidden file. */
export function hiddenName(name: string): boolean {
  return name.startsWith('.')
}

/** What a symlink's target is, seen from the link's folder, as a path of the home; null: it leaves it. */
export function resolveTarget(link: string, target: string): string | null {
  if (target.startsWith('/')) return null
  const parts = parentOf(link) === HOME ? [] : parentOf(link).split('/')
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) return null
  }
  return parts.length > 0 ? parts.join('/') : HOME
}
