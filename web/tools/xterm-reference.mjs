// The reference that internal/vt is compared with: @xterm/headless with the
// page's grapheme addon, driven over standard input and output.
//
// A request is a length (uint32, little endian) and so many bytes of JSON:
//   { cols, rows, scrollback, plain, steps: [ {write: base64} | {resize: [c, r]} ] }
// The answer is a length and the terminal as text, as dump() has it. With plain
// what looks alike is written alike.
import { readFileSync } from 'node:fs'
import headless from '@xterm/headless'
import { transformWithOxc } from 'vite'
import { UnicodeGraphemesAddon } from './graphemes.mjs'

// As the page does it: xterm.js alone loses some characters that are cut in two.
const page = new URL('../src/lib/terminal/whole.ts', import.meta.url)
const { code } = await transformWithOxc(readFileSync(page, 'utf8'), 'whole.ts')
const { WholeCharacters } = await import(`data:text/javascript,${encodeURIComponent(code)}`)

const EXTENDED = 0x10000000
const UNDERLINE = 0x10000000
const STUB = 0
const MODE = 0x3000000

function colour(v) {
  const mode = v & MODE
  if (!mode) return 0
  return mode === MODE ? v & 0x3ffffff : mode | (v & 255)
}

function style(fg, bg, ext, plain, links) {
  const has = bg & EXTENDED
  const link = has && ext.urlId ? links.get(ext.urlId) : undefined
  const name = link ? `${link.id ?? ''}|${link.uri}` : ''
  if (!plain) return `${fg >>> 0}/${bg >>> 0}/${has ? ext._ext >>> 0 : 0}/${name}`
  const kind = has ? (ext._ext & 0x1c000000) >>> 26 : 0
  const under = fg & UNDERLINE ? kind || 1 : link ? 0 : kind // as isUnderline()
  const flags = (fg & ~(MODE | 0xffffff | UNDERLINE)) >>> 0
  const other = (bg & ~(MODE | 0xffffff | EXTENDED)) >>> 0
  return `${flags}:${colour(fg)}/${other}:${colour(bg)}/${under}:${has && (under || name) ? colour(ext._ext) : 0}/${name}`
}

function erasable(s) {
  return /^0:0\/0:\d+\/0:0\/$/.test(s)
}

// internal/vt bounds what one cell holds (maxCluster); xterm.js does not. A known
// difference: beyond the bound nothing is compared.
const CLUSTER = 256

function bounded(text) {
  if (text.length * 3 < CLUSTER) return text
  let out = ''
  let bytes = 0
  for (const char of text) {
    if (bytes >= CLUSTER) break
    out += char
    bytes += Buffer.byteLength(char)
  }
  return out
}

function lineText(line, plain, links, cols, behind) {
  let out = line.isWrapped ? '>' : ' '
  let last = ''
  const n = plain ? cols : line.length
  for (let i = 0; i < n; i++) {
    const content = line._data[3 * i]
    const s = style(line._data[3 * i + 1], line._data[3 * i + 2], line._extendedAttrs[i], plain, links)
    let width = (content >>> 22) & 3
    let text = content & 0x200000 ? bounded(line._combined[i]) : content & 0x1fffff ? String.fromCodePoint(content & 0x1fffff) : ''
    if (plain) {
      const before = i > 0 ? (line._data[3 * (i - 1)] >>> 22) & 3 : 0
      if (width === STUB && !text && before !== 2) width = 1
      const whole = i + 1 < n && !(line._data[3 * (i + 1)] & 0xffffff)
      if (width === 2 && !whole) [width, text] = [1, '']
      if (width === 1 && !text && (!erasable(s) || (behind && i === n - 1))) text = ' '
    }
    if (s !== last) out += `{${s}}`
    last = s
    out += text || (width ? '·' : '‹')
    if (text) out += width === 1 ? '' : `^${width}`
  }
  return out
}

function bufferText(b, active, plain, links, rows, cols) {
  const lines = []
  // After a resize xterm.js lets the alternate screen scroll back.
  const base = plain && !b._hasScrollback ? 0 : b.ybase
  const end = plain ? b.ybase + rows : b.lines.length
  for (let i = b.ybase - base; i < end && i < b.lines.length; i++) lines.push(lineText(b.lines.get(i), plain, links, cols, active && !b._hasScrollback && b.x === cols && i === b.ybase + b.y))
  const tabs = Object.keys(b.tabs).filter((x) => b.tabs[x] && (!plain || +x < cols)).join()
  const row = b.savedY - b.ybase
  const saved = plain
    ? `${Math.min(b.savedX, cols - 1)},${Math.min(Math.max(row, 0), rows - 1)}`
    : `${b.savedX},${b.savedY}`
  const st = plain ? style(b.savedCurAttrData.fg, b.savedCurAttrData.bg & ~EXTENDED, {}, true, links) : `${b.savedCurAttrData.fg >>> 0}/${b.savedCurAttrData.bg >>> 0}`
  return [
    `base ${base} region ${b.scrollTop}-${b.scrollBottom} tabs ${tabs} saved ${saved} ${st} ${charset(b.savedCharset)}` +
      (active || !plain ? ` cursor ${b.x},${b.y}` : ''),
    ...lines,
  ].join('\n')
}

const charset = (c) => (c ? Object.entries(c).map(([a, b]) => a + b[0]).sort().join('') : '-')

function dump(core, title, icon, answers, plain, links) {
  const { buffers, cols, rows } = core._bufferService
  const h = core._inputHandler
  const m = core.coreService.decPrivateModes
  const mouse = core.coreMouseService
  const cs = core._charsetService
  const a = h._curAttrData
  const modes = [
    core.coreService.modes.insertMode, m.applicationCursorKeys, m.applicationKeypad, m.bracketedPasteMode, m.origin,
    m.reverseWraparound, m.sendFocus, m.synchronizedOutput, !m.wraparound, core.coreService.isCursorHidden,
    core.optionsService.rawOptions.convertEol, core.optionsService.rawOptions.cursorBlink,
  ].map((x) => (x ? 1 : 0)).join('')
  return [
    `size ${cols}x${rows} ${buffers.active === buffers.alt ? 'alt' : 'normal'} modes ${modes} cursor ${m.cursorStyle ?? '-'} ${m.cursorBlink ?? '-'}`,
    `mouse ${mouse.activeProtocol} ${mouse.activeEncoding} attr ${style(a.fg, a.bg, a.extended, plain, links)}`,
    `charset ${charset(cs.charset)} level ${cs.glevel} ${[0, 1, 2, 3].map((g) => charset(cs._charsets[g])).join(' ')}`,
    `title ${JSON.stringify(title)} icon ${JSON.stringify(icon)}`,
    `answers ${JSON.stringify(plain ? '' : answers)}`,
    bufferText(buffers.normal, buffers.active === buffers.normal, plain, links, rows, cols),
    buffers.active === buffers.alt || !plain ? bufferText(buffers.alt, true, plain, links, rows, cols) : '',
  ].join('\n')
}

/** What the theme service of @xterm/xterm does; the headless build has none. */
function handleColour(colours, { type, index, color }, answer) {
  const [REPORT, SET] = [0, 1]
  if (type === SET) colours.set(index, color.join())
  else if (type === REPORT) {
    const hex = themeColour(colours, index).map((n) => n.toString(16).padStart(2, '0').repeat(2))
    answer(`\x1b]${index < 256 ? `4;${index}` : index - 246};rgb:${hex.join('/')}\x1b\\`)
  } else if (index === undefined) [...colours.keys()].filter((i) => i < 256).forEach((i) => colours.delete(i))
  else colours.delete(index)
}

const ANSI = ['2e3436', 'cc0000', '4e9a06', 'c4a000', '3465a4', '75507b', '06989a', 'd3d7cf']
  .concat(['555753', 'ef2929', '8ae234', 'fce94f', '729fcf', 'ad7fa8', '34e2e2', 'eeeeec'])
  .map((s) => [0, 2, 4].map((i) => parseInt(s.slice(i, i + 2), 16)))

function themeColour(colours, i) {
  if (colours.has(i)) return colours.get(i).split(',').map(Number)
  if (i >= 256) return i === 257 ? [0, 0, 0] : [255, 255, 255]
  if (i < 16) return ANSI[i]
  if (i >= 232) return Array(3).fill(8 + 10 * (i - 232))
  const level = [0, 95, 135, 175, 215, 255]
  return [Math.floor((i - 16) / 36), Math.floor((i - 16) / 6) % 6, (i - 16) % 6].map((n) => level[n % 6])
}

/**
 * A known difference: in origin mode DECALN begins at the region's top and goes on
 * beyond the screen. When the scrollback is full that is its oldest lines, which
 * are lost; internal/vt keeps them.
 */
function alignment(core) {
  const h = core._inputHandler
  const fill = h.screenAlignmentPattern.bind(h)
  h.screenAlignmentPattern = () => {
    const { buffer: b, rows } = core._bufferService
    const top = core.coreService.decPrivateModes.origin ? b.scrollTop : 0
    if (b._hasScrollback && top > 0 && b.ybase + top + rows > b.lines.maxLength) throw new Error('DECALN goes beyond the screen')
    return fill()
  }
}

/**
 * A known difference: DEL is ignored in a DCS, as its table says; a loop of xterm.js
 * takes it along, if what is before it came in the same piece of output.
 */
function withoutDEL(core) {
  const h = core._inputHandler
  const ask = h.requestStatusString.bind(h)
  h.requestStatusString = (data, params) => ask(data.replaceAll('\x7f', ''), params)
}

/**
 * A known difference: what xterm.js copies from line to line as it wraps anew, it
 * copies beyond a line's end too, where it grows with each resize; it shows again
 * when that part is copied back over something else. internal/vt keeps none of it.
 */
function withinLine(core) {
  const { prototype } = core._bufferService.buffer.lines.get(0).constructor
  if (prototype.unbounded) return
  prototype.unbounded = prototype.copyCellsFrom
  prototype.copyCellsFrom = function (...args) {
    this.unbounded(...args)
    for (const key of Object.keys(this._combined)) if (+key >= this.length) delete this._combined[key]
  }
}

/**
 * A known difference: DECALN in origin mode fills as many lines as the screen has, from
 * the region's top on, and so some beyond the last one. Since a resize joined lines there may be
 * the same ones there that are on the screen: xterm.js fills these a second time, out
 * of place.
 */
function alignedWithin(core) {
  const h = core._inputHandler
  const align = h.screenAlignmentPattern.bind(h)
  h.screenAlignmentPattern = () => {
    const { buffer, buffers } = core._bufferService
    const { lines } = buffer
    if (buffer === buffers.normal) lines.get = (i) => (i < lines.length ? Object.getPrototypeOf(lines).get.call(lines, i) : undefined)
    try {
      return align()
    } finally {
      delete lines.get
    }
  }
}

/**
 * A known difference: what is wrapped at fewer columns and becomes more lines than there may be,
 * xterm.js writes into its ring before the beginning: old lines come out empty or as others.
 * Little text is enough, as of a line that the cursor is in each row counts in full. What internal/vt
 * has then is the newest lines; nothing is compared.
 */
function roomToWrap(core) {
  const b = core._bufferService.buffers.normal
  const wrap = b._reflowSmaller.bind(b)
  b._reflowSmaller = (cols, rows) => {
    wrap(cols, rows)
    if (b.lines.length === b.lines.maxLength) throw new Error('a full scrollback was wrapped anew')
  }
}

/** A known difference: REP repeats no more than internal/vt does (maxRepeat). */
function repeatBounded(core) {
  const h = core._inputHandler
  const repeat = h.repeatPrecedingCharacter.bind(h)
  h.repeatPrecedingCharacter = (params) => {
    const { buffer: b, cols, rows } = core._bufferService
    const width = (h._parser.precedingJoinState >> 1) & 3 // UnicodeService.extractWidth
    const text = h._parser.precedingJoinState ? b.lines.get(b.ybase + b.y).getString(b.x - width) : ''
    const most = Math.floor(Math.max(cols * rows, 8192) / Math.max([...text].length, 1))
    if (params.params[0] > most) params.params[0] = most
    return repeat(params)
  }
}

function run(q) {
  const windowOptions = { getWinSizeChars: true } // the one report of XTWINOPS that needs no window
  const term = new headless.Terminal({ cols: q.cols, rows: q.rows, scrollback: q.scrollback, allowProposedApi: true, logLevel: 'off', windowOptions })
  term.loadAddon(new UnicodeGraphemesAddon())
  const core = term._core
  const links = new Map()
  const register = core._oscLinkService.registerLink.bind(core._oscLinkService)
  core._oscLinkService.registerLink = (data) => {
    const id = register(data)
    links.set(id, data)
    return id
  }
  alignment(core)
  withoutDEL(core)
  withinLine(core)
  alignedWithin(core)
  roomToWrap(core)
  repeatBounded(core)
  let answers = ''
  core.coreService.onData((d) => (answers += d))
  const colours = new Map()
  core._inputHandler.onColor((event) => event.forEach((c) => handleColour(colours, c, (d) => (answers += d))))
  let failed = ''
  const whole = new WholeCharacters()
  for (const s of q.steps) {
    try {
      if (s.write !== undefined) core._inputHandler.parse(whole.take(new Uint8Array(Buffer.from(s.write, 'base64'))))
      else core.resize(s.resize[0], s.resize[1])
      // The alternate screen's list keeps the length of a higher screen while it is
      // empty; made higher again it can lose rows.
      for (const b of [core._bufferService.buffers.normal, core._bufferService.buffers.alt])
        if (b.lines.length && b.lines.length < b.ybase + core._bufferService.rows) throw new Error('rows are missing')
    } catch (err) {
      failed = `xterm.js failed: ${err.message}`
      break
    }
  }
  const set = [...colours].sort(([a], [b]) => a - b).map(([i, c]) => `${i}=${c}`)
  const out = failed || `colours ${set.join(' ')}\n` + dump(core, core._inputHandler._windowTitle, core._inputHandler._iconName, answers, q.plain, links)
  term.dispose()
  return out
}

let pending = Buffer.alloc(0)
process.stdin.on('data', (chunk) => {
  pending = pending.length ? Buffer.concat([pending, chunk]) : chunk
  const replies = []
  while (pending.length >= 4) {
    const n = pending.readUInt32LE(0)
    if (pending.length < 4 + n) break
    const body = Buffer.from(run(JSON.parse(pending.subarray(4, 4 + n).toString())))
    const head = Buffer.alloc(4)
    head.writeUInt32LE(body.length)
    replies.push(head, body)
    pending = pending.subarray(4 + n)
  }
  if (replies.length) process.stdout.write(Buffer.concat(replies))
})
