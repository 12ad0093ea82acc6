package vt

import (
	"slices"
	"strconv"
)

// Bounds on what is drawn, in bytes. Ordinary output is far from them.
const (
	snapshotBack  = 4 << 20   // the scrollback of a snapshot
	snapshotLinks = 8 << 20   // the addresses of links in one
	screenLinks   = 256 << 10 // in a redraw of the screen, or in lines
)

// Snapshot is what makes a fresh xterm.js of the same size equal to the terminal:
// a full reset, up to lines lines of the scrollback, both screens, the cursor,
// modes, colours, titles and the rest. It is of the moment before an unfinished
// sequence (Unfinished). Of a scrollback that takes more than 4 MiB to draw the newest
// part comes; the screens come whole, at about 100 bytes for each cell at most, and more where
// clusters are. What a resize has left in a cell that it does not fit is drawn as far
// as it has room.
func (t *Terminal) Snapshot(lines int) []byte {
	t.endRun()
	p := &painter{t: t, links: snapshotLinks}
	p.text("\x18\x1b[20l\x1bc")
	p.colours()
	p.titles()
	back := t.normal.back.fitting(max(lines, 0), 2*snapshotBack, p.size) // about: newest knows
	p.newest(t.normal.back.lines(t.normal.base()-back, t.normal.base(), t.styles), t.normal.rows[:t.rows], snapshotBack)
	if t.b == t.normal && t.alt.saved != (savedCursor{}) {
		p.text("\x1b[?47h")
		p.saved(t.alt)
		p.text("\x1b[?47l")
	}
	p.buffer(t.normal, false)
	if t.b == t.alt {
		p.hidden()
		p.text("\x1b[?47h\x1b[H")
		p.lines(t.alt.rows[:t.rows], 0)
		p.buffer(t.alt, false)
	}
	p.state()
	t.tidy()
	return p.out
}

// Screen is a redraw for an xterm.js that showed an earlier moment: both screens
// and all state, without a reset and without scrollback. The cursor that a program saved
// on the alternate screen does not come while that is not shown.
func (t *Terminal) Screen() []byte {
	t.endRun()
	p := &painter{t: t, links: screenLinks}
	p.text("\x18\x1b[20l\x1b[0m\x1b]8;;\x1b\\\x1b[?47l\x1b[!p\x1b[?1000l\x1b[?1006l")
	p.colours()
	p.titles()
	p.text("\x1b[H\x1b[2J")
	p.lines(t.normal.rows[:t.rows], 0)
	p.buffer(t.normal, true)
	if t.b == t.alt {
		p.hidden()
		p.text("\x1b[?47h\x1b[!p\x1b[H\x1b[2J")
		p.lines(t.alt.rows[:t.rows], 0)
		p.buffer(t.alt, true)
	}
	p.state()
	return p.out
}

// hidden leaves the cursor of the normal screen where it was as the alternate one was
// shown: who makes the screen lower meanwhile moves lines by it.
func (p *painter) hidden() {
	b := p.t.normal
	p.style(style{})
	p.at(min(b.x, p.t.cols-1), min(b.y, p.t.rows-1))
}

func (p *painter) colours() {
	p.text("\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\")
	indices := make([]int, 0, len(p.t.colours.palette))
	for i := range p.t.colours.palette {
		indices = append(indices, i)
	}
	slices.Sort(indices)
	for _, i := range indices {
		p.text("\x1b]4;" + strconv.Itoa(i) + ";" + colourText(p.t.colours.palette[i]) + "\x1b\\")
	}
	for i, c := range p.t.colours.special {
		if c != nil {
			p.text("\x1b]" + strconv.Itoa(10+i) + ";" + colourText(*c) + "\x1b\\")
		}
	}
}

func (p *painter) titles() {
	p.text("\x1b]2;" + p.t.title + "\x1b\\\x1b]1;" + p.t.icon + "\x1b\\")
}

// buffer brings the state that each screen has of its own: tab stops, the saved
// cursor, the scroll region.
func (p *painter) buffer(b *buffer, always bool) {
	if always || !defaultTabs(b, p.t.cols) {
		p.style(style{})
		p.text("\x1b[3g")
		for x := range p.t.cols {
			if b.tab(x) {
				p.csi(x+1, 'G')
				p.text("\x1bH")
			}
		}
	}
	if always || b.saved.x != 0 || b.saved.y >= max(b.base(), 1) || b.saved.fg|b.saved.bg != 0 || b.saved.charset != nil {
		p.saved(b)
	}
	if b.top != 0 || b.bottom != p.t.rows-1 {
		p.text("\x1b[" + strconv.Itoa(b.top+1) + ";" + strconv.Itoa(b.bottom+1) + "r")
	}
}

func defaultTabs(b *buffer, cols int) bool {
	for x := range cols {
		if b.tab(x) != (x%tabWidth == 0) {
			return false
		}
	}
	return true
}

// saved makes the saved cursor, with modes as after a reset.
func (p *painter) saved(b *buffer) {
	s := b.saved
	p.at(min(s.x, p.t.cols-1), min(max(s.y-b.base(), 0), p.t.rows-1))
	st := style{fg: s.fg, bg: s.bg &^ extended}
	if st.fg&underline != 0 {
		st.setUnderline(underlineSingle)
	}
	p.style(st)
	p.designate(0, s.charset)
	if s.bg&extended != 0 && st.bg&extended == 0 { // a link was in force, which does not matter
		p.text("\x1b]8;;x\x1b\\\x1b7\x1b]8;;\x1b\\")
	} else {
		p.text("\x1b7")
	}
	p.designate(0, nil)
}

// designate makes a set G0 to G3.
func (p *painter) designate(g int, c *charset) {
	p.text("\x1b" + string("()*+"[g]) + string(rune(charsetName(c))))
}

func charsetName(c *charset) byte {
	name := byte('B')
	for final, set := range nationalSets {
		if set == c && c != nil && (name == 'B' || final < name) {
			name = final
		}
	}
	return name
}

// state brings charsets, modes and the cursor.
func (p *painter) state() {
	t := p.t
	p.charsets()
	if t.restored() && t.charset == t.b.saved.charset { // else nothing brings it
		p.text("\x1b8")
		p.last.fg = 1 // what ESC 8 brought is not the style that was in force
	}
	p.modes()
	if t.hidden {
		p.text("\x1b[?25l")
	} else {
		p.text("\x1b[?25h")
	}
	if t.newLine {
		p.text("\x1b[20h")
	}
	p.cursor()
	if t.modes.insert {
		p.text("\x1b[4h")
	}
}

// restored says whether the charset in force is one that DECRC brought, not one of G0 to G3.
func (t *Terminal) restored() bool { return t.charset != t.charsets[t.level] }

func (p *painter) charsets() {
	for g, c := range p.t.charsets {
		if c != nil {
			p.designate(g, c)
		}
	}
	p.text([...]string{"", "\x0e", "\x1bn", "\x1bo"}[p.t.level])
}

func (p *painter) modes() {
	t, m := p.t, &p.t.modes
	for _, on := range [...]struct {
		on   bool
		text string
	}{
		{m.cursorKeys, "\x1b[?1h"}, {m.keypad, "\x1b="}, {m.paste, "\x1b[?2004h"}, {m.reverseWrap, "\x1b[?45h"},
		{m.focus, "\x1b[?1004h"}, {m.noWrap, "\x1b[?7l"}, {m.sync, "\x1b[?2026h"}, {m.origin, "\x1b[?6h"},
		{t.blink == blinkOn, "\x1b[?12h"}, {t.blink == blinkOff, "\x1b[?12l"},
		{t.mouse == mouseX10, "\x1b[?9h"}, {t.mouse == mouseVT200, "\x1b[?1000h"},
		{t.mouse == mouseDrag, "\x1b[?1002h"}, {t.mouse == mouseAny, "\x1b[?1003h"},
		{t.encoding == mouseSGR, "\x1b[?1006h"}, {t.encoding == mousePixels, "\x1b[?1016h"},
	} {
		if on.on {
			p.text(on.text)
		}
	}
	if n := m.cursorStyle(); n != 0 {
		p.text("\x1b[" + strconv.Itoa(n) + " q")
	}
}

// cursor brings the cursor and the style in force. Behind the last column it can
// come only by printing there once more; and so can what the next character may
// join.
func (p *painter) cursor() {
	t, b := p.t, p.t.b
	l := b.row()
	y := b.y
	if t.modes.origin {
		y -= b.top
	}
	start := b.x - 1
	if start > 0 && l.cells[start].stub() {
		start--
	}
	again, columns := "", 0
	if start >= 0 {
		again, columns = t.drawn(l, start)
	}
	attr := t.attr.seen()
	if attr.fg&underline == 0 { // the colour of an underline that may come
		attr.ext |= t.attr.ext & (colourMask | rgbMask)
	}
	style := p.shown(l.cells[max(start, 0)])
	switch {
	case t.beyond():
		p.cursorFromAlternate()
	case t.rejoinable():
		p.at(start, y)
		p.style(attr)
		p.print(again)
		return
	case b.x < t.cols:
		p.at(b.x, y)
	case start+columns == t.cols && t.restored() && b == t.normal:
		p.cursorFromAlternate() // to print it again would bring another charset into force
	case start+columns == t.cols:
		p.at(start, y)
		p.style(style)
		if typed, ok := t.typed(again); ok {
			p.print(typed)
			break
		}
		p.text("\x0f\x1b(B") // lest it becomes another character
		p.print(again)
		p.charsets()
	case b == t.normal: // behind an empty column
		p.cursorFromAlternate()
	default: // the column is then as if a space was printed in it
		p.at(t.cols-1, y)
		p.style(style)
		p.print(" ")
	}
	p.last.fg = ^attr.fg // a sequence must come, so that nothing joins
	p.style(attr)
}

// cursorFromAlternate brings the normal screen's cursor where no sequence moves it on
// that screen: it stays where it was on the alternate one, whose region is all of it.
func (p *painter) cursorFromAlternate() {
	b := p.t.b
	p.text("\x1b[?47h")
	p.at(min(b.x, p.t.cols-1), b.y)
	if b.x == p.t.cols {
		p.print(" ")
	}
	p.text("\x1b[?47l")
}

// beyond says whether the cursor is outside the scroll region in origin mode, as it is
// when the alternate screen was left (mode 47) with it there.
func (t *Terminal) beyond() bool {
	b := t.b
	return t.modes.origin && b == t.normal && (b.y < b.top || b.y > b.bottom)
}

// typed is what is to be printed with the charset in force so that text is shown.
func (t *Terminal) typed(text string) (string, bool) {
	if t.charset == nil {
		return text, true
	}
	out := make([]rune, 0, len(text))
	for _, r := range text {
		if r < 127 && t.charset[r] == 0 || r >= 127 {
			out = append(out, r)
			continue
		}
		return "", false
	}
	return string(out), true
}

// rejoinable says whether what can be joined to is before the cursor, and can be
// printed once more.
func (t *Terminal) rejoinable() bool {
	b := t.b
	l := b.row()
	start := b.x - 1
	if start > 0 && l.cells[start].stub() {
		start--
	}
	if t.beyond() || start < 0 || l.cells[start].style() != t.attrID {
		return false
	}
	text, columns := t.drawn(l, start)
	return text == l.text(start) && columns == t.parser.joint.width() && start+columns == b.x && t.rejoins(text)
}

// rejoins says whether printing text again leads to the joint that there is, in a
// cell as it is.
func (t *Terminal) rejoins(text string) bool {
	want := t.parser.joint
	if want == 0 || t.modes.insert {
		return false
	}
	var j joint
	for _, r := range text {
		if t.charset != nil && r < 127 && t.charset[r] != 0 {
			return false
		}
		j, _, _ = measure(r, j)
	}
	return j == want
}
