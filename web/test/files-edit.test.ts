import { describe, expect, it } from 'vitest'
import { EditorState } from '@codemirror/state'
import { Problem } from '../src/lib/api/client'
import { Edit, lineBreakOf, MOST, textOf } from '../src/lib/files/edit.svelte'
import { CodePad } from '../src/lib/files/pad'
import { entry } from './files-entry'

/** One file, and who changed it. */
class Disk {
  version = 1
  gone = false
  /** Reads end after this. */
  gate: Promise<void> = Promise.resolve()
  constructor(public bytes: Uint8Array<ArrayBuffer>) {}
  get size() {
    return this.bytes.length
  }
  get etag() {
    return `"${this.version}"`
  }
  change(text: string) {
    this.bytes = new TextEncoder().encode(text)
    this.version++
  }
  reads = 0
  read = async (_path: string, most: number, unless: string) => {
    this.reads++
    const { etag, size } = this
    const bytes = this.bytes.slice(0, most + 1)
    await this.gate
    if (this.gone) throw new Problem(404, 'no_file', 'Gone.')
    return unless === etag ? null : { bytes, etag, size }
  }
  write = (path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new') => {
    const there = !this.gone && path === 'f'
    if (over === 'new' && there) return Promise.reject(new Problem(409, 'file_exists', 'It is there.'))
    if (typeof over === 'object' && (!there || over.etag !== this.etag)) return Promise.reject(new Problem(409, 'file_changed', 'Changed.'))
    this.bytes = bytes
    this.gone = false
    this.version++
    return Promise.resolve(entry(path, { size: bytes.length, etag: this.etag }))
  }
  get text() {
    return new TextDecoder().decode(this.bytes)
  }
}

async function open(text: string) {
  const disk = new Disk(new TextEncoder().encode(text))
  const edit = new Edit('f', disk)
  await expect.poll(() => edit.state).not.toBe('loading')
  const pad = new CodePad(edit)
  const type = (text: string) => pad.replace(text)
  const changed = () => edit.heard([{ path: 'f', change: 'modify' }])
  return { disk, edit, pad, type, changed }
}

describe('editing a file', () => {
  it('saves what was typed', async () => {
    const { disk, edit, type } = await open('one\n')
    type('two\n')
    expect(await edit.save()).toBe(true)
    expect([disk.text, edit.dirty]).toEqual(['two\n', false])
    type('three\n')
    expect(await edit.save()).toBe(true)
    expect(disk.text).toBe('three\n')
  })

  it('never writes over a change that it has not seen', async () => {
    const { disk, edit, type } = await open('one')
    type('mine')
    disk.change('theirs')
    expect(await edit.save()).toBe(false)
    expect([edit.conflict, disk.text, edit.dirty]).toEqual([true, 'theirs', true])
    expect(await edit.overwrite()).toBe(true)
    expect([edit.conflict, disk.text]).toEqual([false, 'mine'])
  })

  it('overwrites only what it has shown', async () => {
    const { disk, edit, type } = await open('one')
    type('mine')
    disk.change('theirs')
    expect(await edit.save()).toBe(false)
    expect(edit.theirs?.text).toBe('theirs')
    disk.change('newer')
    expect(await edit.overwrite()).toBe(false)
    expect([disk.text, edit.theirs?.text, edit.conflict]).toEqual(['newer', 'newer', true])
    expect(await edit.overwrite()).toBe(true)
    expect([disk.text, edit.theirs, edit.conflict]).toEqual(['mine', null, false])
  })

  it('makes a file anew only where there is none', async () => {
    const { disk, edit, type, changed } = await open('one')
    type('mine')
    disk.gone = true
    await changed()
    expect(edit.disk).toBe('gone')
    disk.gone = false
    disk.change('of somebody else')
    expect(await edit.overwrite()).toBe(false)
    expect([disk.text, edit.theirs?.text]).toEqual(['of somebody else', 'of somebody else'])
    disk.gone = true
    await changed()
    expect(await edit.save()).toBe(true)
    expect([disk.text, edit.disk, edit.dirty]).toEqual(['mine', 'same', false])
  })

  it('keeps the cursor and the history when the disk changes under a clean text, and never unmounts it', async () => {
    const { disk, edit, pad, changed } = await open('one\ntwo\nthree\n')
    disk.change('zero\r\none\r\ntwo!\r\nthree\r\n')
    let gate!: () => void
    disk.gate = new Promise((open) => (gate = open))
    const asked = changed()
    await Promise.resolve()
    expect(edit.state).toBe('ready')
    gate()
    await asked
    expect([edit.state, pad.text(), edit.dirty]).toEqual(['ready', 'zero\r\none\r\ntwo!\r\nthree\r\n', false])
  })

  it('throws nothing away that was typed while the disk was read', async () => {
    const { disk, edit, pad, type, changed } = await open('one')
    disk.change('two')
    let gate!: () => void
    disk.gate = new Promise((open) => (gate = open))
    const asked = changed()
    type('mine')
    gate()
    await asked
    expect([pad.text(), edit.disk, edit.dirty]).toEqual(['mine', 'changed', true])
  })

  it('looks once at a time, however often it is told', async () => {
    const { disk, edit, type, changed } = await open('one')
    type('mine')
    let gate!: () => void
    disk.gate = new Promise((open) => (gate = open))
    disk.change('two')
    disk.reads = 0
    const all = Promise.all(Array.from({ length: 20 }, changed))
    expect(disk.reads).toBe(1)
    disk.change('three')
    gate()
    await all
    await expect.poll(() => edit.theirs?.text).toBe('three')
    expect(disk.reads).toBe(2)
  })

  it('asks for no more than it can take, and says how much there is', async () => {
    const disk = new Disk(new Uint8Array([65]))
    let asked = 0
    const edit = new Edit('link', {
      read: (_, most) => {
        asked = most
        return Promise.resolve({ bytes: new Uint8Array(most + 1).fill(65), etag: '"1"', size: 5e9 })
      },
      write: disk.write,
    })
    await expect.poll(() => edit.state).toBe('unfit')
    expect([asked, edit.problem]).toEqual([MOST, 'It has 4.7 GB, and more than 1 MB is too much for this editor.'])
  })

  it('shows a change on disk: at once when nothing was typed, else as a notice', async () => {
    const { disk, edit, type, changed } = await open('one')
    disk.change('two')
    await changed()
    expect([edit.loaded!.text, edit.disk]).toEqual(['two', 'same'])
    type('mine')
    disk.change('three')
    await changed()
    expect([edit.disk, edit.loaded!.text]).toEqual(['changed', 'two'])
    await edit.load()
    expect([edit.loaded!.text, edit.dirty, edit.disk]).toEqual(['three', false, 'same'])
  })

  it('is not troubled by a touch, or by its own save', async () => {
    const { disk, edit, type, changed } = await open('one')
    type('mine')
    disk.change('one')
    await changed()
    expect(edit.disk).toBe('same')
    disk.change('one')
    expect(await edit.save()).toBe(true)
    expect(disk.text).toBe('mine')
    await changed()
    expect(edit.disk).toBe('same')
  })

  it('says that the file is gone, and saves it under another name', async () => {
    const { disk, edit, type, changed } = await open('one')
    type('mine')
    disk.gone = true
    await changed()
    expect(edit.disk).toBe('gone')
    disk.gone = false
    expect(await edit.saveAs('f')).toBe(false)
    expect((edit.refusal as Problem).code).toBe('file_exists')
    expect(edit.conflict).toBe(false)
    expect(await edit.saveAs('g')).toBe(true)
    expect(edit.path).toBe('g')
  })

  it.each([
    ['bytes that are no text', new Uint8Array([0xff, 0xfe])],
    ['a zero byte', new Uint8Array([65, 0, 66])],
    ['more than it can take', new Uint8Array(MOST + 1).fill(65)],
  ])('leaves alone %s', async (_, bytes) => {
    const edit = new Edit('f', new Disk(bytes))
    await expect.poll(() => edit.state).toBe('unfit')
    expect(edit.problem).not.toBe('')
  })

  it.each(['a\nb\n', 'a\r\nb\r\n', 'a\r\nb\n', 'a\rb', '\ufeffa\n', '', '\n', 'a\r\n\rb\r\n', '\r\n', 'a\u2028b'])('gives back the bytes of %j', (text) => {
    const read = textOf(new TextEncoder().encode(text))!
    const state = EditorState.create({ doc: read, extensions: [EditorState.lineSeparator.of(lineBreakOf(read))] })
    expect(state.sliceDoc()).toBe(text)
  })
})
