import { describe, expect, it } from 'vitest'
import { EditorState } from '@codemirror/state'
import { Problem } from '../src/lib/api/client'
import { Edit, lineBreakOf, MOST, textOf } from '../src/lib/files/edit.svelte'
import { entry } from './files-entry'

/** One file, and who changed it. */
class Disk {
  version = 1
  gone = false
  constructor(public bytes: Uint8Array<ArrayBuffer>) {}
  get etag() {
    return `"${this.version}"`
  }
  change(text: string) {
    this.bytes = new TextEncoder().encode(text)
    this.version++
  }
  stat = (path: string) =>
    this.gone ? Promise.reject(new Problem(404, 'no_file', 'Gone.')) : Promise.resolve(entry(path, { size: this.bytes.length, etag: this.etag }))
  read = () => Promise.resolve({ bytes: this.bytes as Uint8Array, etag: this.etag })
  write = (path: string, bytes: Uint8Array<ArrayBuffer>, over: { etag: string } | 'new' | 'any') => {
    if (over === 'new' && path === 'f') return Promise.reject(new Problem(409, 'file_exists', 'It is there.'))
    if (typeof over === 'object' && over.etag !== this.etag) return Promise.reject(new Problem(409, 'file_changed', 'Changed.'))
    this.bytes = bytes
    this.version++
    return this.stat(path)
  }
  get text() {
    return new TextDecoder().decode(this.bytes)
  }
}

async function open(text: string) {
  const disk = new Disk(new TextEncoder().encode(text))
  const edit = new Edit('f', disk)
  await expect.poll(() => edit.state).not.toBe('loading')
  let typed: string | null = null
  edit.current = () => typed ?? edit.loaded!.text
  const type = (text: string) => {
    typed = text
    edit.dirty = true
  }
  const changed = () => edit.heard([{ path: 'f', change: 'modify' }])
  return { disk, edit, type, changed }
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
    expect(await edit.save()).toBe(true)
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
