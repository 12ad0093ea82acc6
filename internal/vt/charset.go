package vt

import "unicode/utf8"

func appendRune(b []byte, r rune) []byte { return utf8.AppendRune(b, r) }

// charset replaces ASCII characters; 0: stays as it is.
type charset [127]rune

func makeCharset(from, to string) *charset {
	var c charset
	for i, r := range []rune(to) {
		c[from[i]] = r
	}
	return &c
}

// nationalSets are the sets that can be designated (ESC ( and so on), by their
// final byte; ASCII is nil.
var nationalSets = map[byte]*charset{
	'0': makeCharset("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"),
	'A': makeCharset("#", "£"),
	'B': nil,
	'4': makeCharset("#@[\\]{|}~", "£¾i½|¨f¼´"),
	'C': finnish, '5': finnish,
	'R': makeCharset("#@[\\]{|}~", "£à°ç§éùè¨"),
	'Q': makeCharset("@[\\]^`{|}~", "àâçêîôéùèû"),
	'K': makeCharset("@[\\]{|}~", "§ÄÖÜäöüß"),
	'Y': makeCharset("#@[\\]`{|}~", "£§°çéùàòèì"),
	'E': norwegian, '6': norwegian,
	'Z': makeCharset("#@[\\]{|}", "£§¡Ñ¿°ñç"),
	'H': swedish, '7': swedish,
	'=': makeCharset("#@[\\]^_`{|}~", "ùàéçêîèôäöüû"),
}

var (
	finnish   = makeCharset("[\\]^`{|}~", "ÄÖÅÜéäöåü")
	norwegian = makeCharset("@[\\]^`{|}~", "ÄÆØÅÜäæøåü")
	swedish   = makeCharset("@[\\]^`{|}~", "ÉÄÖÅÜéäöåü")
)

func (t *Terminal) resetCharsets() {
	t.charset, t.charsets, t.level = nil, [4]*charset{}, 0
}

// shift is a locking shift: G0 to G3 comes into force.
func (t *Terminal) shift(level int) {
	t.level, t.charset = level, t.charsets[level]
}

// designate makes a set G0 to G3.
func (t *Terminal) designate(g int, c *charset) {
	t.charsets[g] = c
	if t.level == g {
		t.charset = c
	}
}
