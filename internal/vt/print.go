package vt

import (
	"encoding/binary"
	"math/bits"
)

// beginRun is before the first of characters that are printed one after the other:
// a wide character that the cursor stands in the middle of goes.
func (t *Terminal) beginRun() {
	p := &t.parser
	if p.run {
		return
	}
	p.run = true
	b := t.b
	if row := b.row(); b.x > 0 && row.cells[b.x-1].width() == 2 {
		row.cells[b.x-1] = blank(t.attrID)
	}
}

// endRun is after the last: what is left of a wide character that was overwritten
// in half goes.
func (t *Terminal) endRun() {
	p := &t.parser
	if !p.run {
		return
	}
	p.run = false
	b := t.b
	if row := b.row(); b.x < t.cols && row.cells[b.x].stub() {
		row.cells[b.x] = blank(t.attrID)
	}
}

// printASCII prints the text of 0x20 to 0x7E that is at i, and returns its end.
func (t *Terminal) printASCII(in []byte, i int) int {
	p := &t.parser
	if t.charset != nil || t.modes.insert || p.joint.kind() == breakPrepend {
		for ; i < len(in) && isPrintable(in[i]); i++ {
			t.printRune(rune(in[i]))
		}
		return i
	}
	t.beginRun()
	p.joint = plainJoint
	b := t.b
	base := blank(t.attrID)
	row := b.row()
	for {
		if b.x >= t.cols {
			if t.modes.noWrap {
				b.x = t.cols - 1
				i = printable(in, i) - 1
			} else {
				row = t.wrap(0)
			}
		}
		n := putASCII(row.cells[b.x:t.cols], in[i:], base)
		b.x += n
		if i += n; i == len(in) || !isPrintable(in[i]) {
			return i
		}
	}
}

func isPrintable(c byte) bool { return c-0x20 < 0x5F }

// putASCII makes cells of text as long as there is room and it is printable ASCII,
// and returns of how much. base is all of a cell but the character.
func putASCII(cells []cell, text []byte, base cell) (n int) {
	for len(cells) >= 8 && len(text) >= 8 {
		x := binary.LittleEndian.Uint64(text)
		if other := unprintable(x); other != 0 {
			k := bits.TrailingZeros64(other) / 8
			for i := range cells[:k] {
				cells[i] = base | cell(x&0xFF)
				x >>= 8
			}
			return n + k
		}
		c := cells[:8]
		c[0], c[1] = base|cell(x&0xFF), base|cell(x>>8&0xFF)
		c[2], c[3] = base|cell(x>>16&0xFF), base|cell(x>>24&0xFF)
		c[4], c[5] = base|cell(x>>32&0xFF), base|cell(x>>40&0xFF)
		c[6], c[7] = base|cell(x>>48&0xFF), base|cell(x>>56)
		cells, text, n = cells[8:], text[8:], n+8
	}
	for i := range cells[:min(len(cells), len(text))] {
		c := text[i]
		if !isPrintable(c) {
			return n + i
		}
		cells[i] = base | cell(c)
	}
	return n + min(len(cells), len(text))
}

// unprintable has the high bit of each byte set that is above 0x7F, below 0x20 or
// DEL (Hacker's Delight, 6-1). The lowest one is exact; those after it may be
// borrowed.
func unprintable(x uint64) uint64 {
	const each, high = 0x0101010101010101, 0x8080808080808080
	del := x ^ 0x7F*each
	return (x | (x-0x20*each)&^x | (del-each)&^del) & high
}

// printable is the end of the ASCII text at i.
func printable(in []byte, i int) int {
	for ; len(in)-i >= 8; i += 8 {
		if other := unprintable(binary.LittleEndian.Uint64(in[i:])); other != 0 {
			return i + bits.TrailingZeros64(other)/8
		}
	}
	for i < len(in) && isPrintable(in[i]) {
		i++
	}
	return i
}

// printRune prints one character, or joins it to the one before.
func (t *Terminal) printRune(code rune) {
	t.beginRun()
	if t.charset != nil && code < 127 {
		if r := t.charset[code]; r != 0 {
			code = r
		}
	}
	p, b := &t.parser, t.b
	before := p.joint
	after, width, joins := measure(code, before)
	p.joint = after
	old := 0
	if joins {
		old = before.width()
	}
	row := b.row()
	if b.x+width-old > t.cols {
		if t.modes.noWrap {
			b.x = t.cols - 1
			if width == 2 {
				return
			}
		} else {
			row = t.wrap(old)
		}
	}
	if joins && b.x > 0 {
		t.join(row, code, width, old)
		return
	}
	if t.modes.insert {
		row.insert(b.x, max(width-old, 0), blank(t.attrID))
		if row.cells[t.cols-1].width() == 2 {
			row.cells[t.cols-1] = blank(t.attrID)
		}
	}
	row.cells[b.x] = makeCell(code, width, t.attrID)
	b.x++
	if width == 2 {
		row.cells[b.x] = makeCell(0, 0, t.attrID)
		b.x++
	}
}

// join adds a character to the one before the cursor, which may become wider.
func (t *Terminal) join(row *line, code rune, width, old int) {
	b := t.b
	at := b.x - 1
	if row.cells[at].width() == 0 {
		at--
	}
	if at >= 0 {
		row.add(at, code, width)
	}
	for n := width - old; n > 0; n-- {
		row.cells[b.x] = makeCell(0, 0, t.attrID)
		b.x++
	}
}

// add appends a character to a cell's text.
func (l *line) add(i int, code rune, width int) {
	c := l.cells[i]
	switch {
	case c.cluster():
		if s := l.clusters[i]; len(s) < maxCluster {
			l.clusters[i] = s + string(code)
		}
	case c.code() != 0:
		l.setCluster(i, string(c.code())+string(code))
		c = c&^codeMask | clusterBit
	default:
		c = makeCell(code, 1, c.style())
	}
	l.cells[i] = c&^widthMask | cell(width)<<widthShift
}

// wrap goes on in the next line, with the last old columns of this one: a
// character that becomes too wide for the margin moves. What is left of it here
// goes.
func (t *Terminal) wrap(old int) *line {
	b := t.b
	row := b.row()
	from := max(b.x-old, 0)
	var moved *line
	if old > 0 {
		moved = newLine(t.cols, blank(0))
		moved.copyFrom(row, from, 0, old, false)
	}
	if from < t.cols {
		fillCells(row.cells[from:t.cols], blank(t.attrID))
	}
	b.x = old
	b.y++
	if b.y == b.bottom+1 {
		b.y--
		t.scroll(true)
	} else {
		b.y = min(b.y, t.rows-1)
		b.row().wrapped = true
	}
	row = b.row()
	if moved != nil {
		row.copyFrom(moved, 0, 0, old, false)
	}
	return row
}
