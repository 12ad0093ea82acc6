// The page's grapheme addon, as it is in a browser. In Node it takes the table of
// characters out of a pooled Buffer from the wrong place (addon-unicode-graphemes
// 0.4: `new DataView(data.buffer)` without the offset), and knows nothing of what is
// beyond U+FFFF, emoji above all. Without Buffer it decodes as a browser does.
const { Buffer } = globalThis
delete globalThis.Buffer
const { UnicodeGraphemesAddon } = await import('@xterm/addon-unicode-graphemes')
new UnicodeGraphemesAddon().activate({ unicode: { register() {}, activeVersion: '' } })
globalThis.Buffer = Buffer

export { UnicodeGraphemesAddon }
