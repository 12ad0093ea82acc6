package vt

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Control sequences are named by prefix, intermediates and final byte, one byte
// each.
const (
	private  = '?' << 8
	greater  = '>' << 8
	space    = ' ' << 8
	bang     = '!' << 8
	quote    = '"' << 8
	tick     = '\'' << 8
	dollar   = '$' << 8
	askDECRQ = '?'<<16 | '$'<<8 | 'p'
)

// csi acts on a control sequence; what xterm.js does not know does nothing.
func (t *Terminal) csi(ident uint32) {
	p := &t.parser.params
	if t.csiMove(ident, p) || t.csiEdit(ident, p) {
		return
	}
	switch ident {
	case 'g':
		switch p.get(0) {
		case 0:
			t.b.setTab(t.b.x, false)
		case 3:
			t.b.tabs = nil
		}
	case 'h', 'l':
		t.setModes(p, ident == 'h')
	case private | 'h', private | 'l':
		t.setPrivateModes(p, ident == private|'h')
	case 'm':
		t.sgr(p)
	case bang | 'p':
		t.softReset()
	case space | 'q':
		t.modes.setCursorStyle(p.get(0))
	case quote | 'q':
		switch p.get(0) {
		case 1:
			t.attr.bg |= protected
		case 0, 2:
			t.attr.bg &^= protected
		}
		t.restyle()
	case 'r':
		t.setRegion(p)
	case 's':
		t.saveCursor()
	case 'u':
		t.restoreCursor()
	default:
		t.csiQuery(ident, p)
	}
}

// csiMove moves the cursor.
func (t *Terminal) csiMove(ident uint32, p *params) bool {
	n := p.count()
	switch ident {
	case 'A':
		t.up(n)
	case 'B':
		t.down(n)
	case 'C', 'a':
		t.moveBy(n, 0)
	case 'D':
		t.moveBy(-n, 0)
	case 'E':
		t.down(n)
		t.b.x = 0
	case 'F':
		t.up(n)
		t.b.x = 0
	case 'G', '`':
		t.moveTo(n-1, t.b.y)
	case 'H', 'f':
		t.moveTo(max(p.get(1), 1)-1, n-1)
	case 'I':
		t.forwardTabs(n)
	case 'Z':
		t.backwardTabs(n)
	case 'd':
		t.moveTo(t.b.x, n-1)
	case 'e':
		t.moveBy(0, n)
	default:
		return false
	}
	return true
}

// csiEdit changes what stands on the screen.
func (t *Terminal) csiEdit(ident uint32, p *params) bool {
	n := p.count()
	switch ident {
	case '@':
		t.restrict(t.cols - 1)
		t.b.row().insert(t.b.x, n, blank(t.eraseID))
	case 'P':
		t.restrict(t.cols - 1)
		t.b.row().remove(t.b.x, n, blank(t.eraseID))
	case 'X':
		t.restrict(t.cols - 1)
		t.b.row().replace(t.b.x, t.b.x+n, blank(t.eraseID), nil)
	case 'J', private | 'J':
		t.eraseDisplay(p.get(0), ident != 'J')
	case 'K', private | 'K':
		t.eraseLine(p.get(0), ident != 'K')
	case 'L':
		t.insertLines(n, true)
	case 'M':
		t.insertLines(n, false)
	case 'S':
		t.scrollRegion(n, false, blank(t.eraseID))
	case 'T':
		t.scrollRegion(n, true, blank(0))
	case space | '@':
		t.columns(func(l *line) { l.remove(0, n, blank(t.eraseID)) })
	case space | 'A':
		t.columns(func(l *line) { l.insert(0, n, blank(t.eraseID)) })
	case tick | '}':
		t.columns(func(l *line) { l.insert(t.b.x, n, blank(t.eraseID)) })
	case tick | '~':
		t.columns(func(l *line) { l.remove(t.b.x, n, blank(t.eraseID)) })
	case 'b':
		t.repeat(n)
	default:
		return false
	}
	return true
}

// inRegion says whether the cursor is in the scroll region.
func (t *Terminal) inRegion() bool { return t.b.y >= t.b.top && t.b.y <= t.b.bottom }

// columns changes each line of the region, when the cursor is in it.
func (t *Terminal) columns(change func(*line)) {
	if !t.inRegion() {
		return
	}
	for _, l := range t.b.rows[t.b.top : t.b.bottom+1] {
		change(l)
		l.wrapped = false
	}
}

// insertLines is IL, or DL.
func (t *Terminal) insertLines(n int, down bool) {
	t.restrict(t.cols - 1)
	if !t.inRegion() {
		return
	}
	b := t.b
	t.rotate(b.y, b.bottom, n, down, blank(t.eraseID))
	b.x = 0
}

// scrollRegion is SU, or SD.
func (t *Terminal) scrollRegion(n int, down bool, fill cell) {
	b := t.b
	t.rotate(b.top, b.bottom, n, down, fill)
}

// repeat is REP: the character before once more, n times. As many as fill the screen
// are enough, and of a cluster fewer: a few bytes are not to take seconds. Who gets
// what Filter returns is told as many: xterm.js has no bound.
func (t *Terminal) repeat(n int) {
	text := t.repeated()
	most := t.mayRepeat(text)
	if n > most {
		n = most
		t.parser.query = true
		if n > 0 {
			t.parser.instead = fmt.Appendf(t.parser.instead, "\x1b[%db", n)
		}
	}
	if text == "" {
		return
	}
	t.parser.repeats -= n * costOf(text)
	if len(text) == 1 && isPrintable(text[0]) {
		same := bytes.Repeat([]byte(text), min(n, t.cols))
		for ; n > 0; n -= len(same) {
			t.printASCII(same[:min(n, len(same))], 0)
		}
	}
	for range n {
		for _, r := range text {
			t.printRune(r)
		}
	}
	t.endRun()
}

// repeated is what REP repeats; "": nothing.
func (t *Terminal) repeated() string {
	j := t.parser.joint
	if j == 0 {
		return ""
	}
	at := t.b.x - j.width()
	if at < 0 || at >= len(t.b.row().cells) {
		return ""
	}
	return t.b.row().text(at)
}

// mayRepeat is how often text may be repeated.
func (t *Terminal) mayRepeat(text string) int {
	n := max(t.cols*t.rows, maxRepeat) / max(utf8.RuneCountInString(text), 1)
	return min(n, t.parser.repeats/costOf(text))
}

// costOf is what it costs to print text, in ASCII characters; as measured.
func costOf(text string) int {
	if len(text) <= 1 {
		return 1
	}
	return 8 * utf8.RuneCountInString(text)
}

func (t *Terminal) setRegion(p *params) {
	top, bottom := p.count(), p.get(1)
	if p.n < 2 || bottom > t.rows || bottom == 0 {
		bottom = t.rows
	}
	if bottom > top {
		t.b.top, t.b.bottom = top-1, bottom-1
		t.moveTo(0, 0)
	}
}

// eraseRow erases columns of a row. unwrap makes it no longer go on what is above.
func (t *Terminal) eraseRow(y, start, end int, unwrap, spare bool) {
	l := t.b.rows[y]
	l.replace(start, end, blank(t.eraseID), t.sparing(spare))
	if unwrap {
		l.wrapped = false
	}
}

func (t *Terminal) sparing(spare bool) *styles {
	if spare {
		return t.styles
	}
	return nil
}

// clearRow erases a whole row.
func (t *Terminal) clearRow(y int, spare bool) {
	l := t.b.rows[y]
	if spare {
		l.fillUnprotected(0, len(l.cells), blank(t.eraseID), t.styles)
	} else {
		l.fill(blank(t.eraseID))
	}
	l.wrapped = false
}

// eraseDisplay is ED, or DECSED, which spares what is protected.
func (t *Terminal) eraseDisplay(what int, spare bool) {
	t.restrict(t.cols)
	b := t.b
	switch what {
	case 0:
		t.eraseRow(b.y, b.x, t.cols, b.x == 0, spare)
		for y := b.y + 1; y < t.rows; y++ {
			t.clearRow(y, spare)
		}
	case 1:
		t.eraseRow(b.y, 0, b.x+1, true, spare)
		if b.x+1 >= t.cols {
			t.unwrapAbsolute(b.y + 1)
		}
		for y := range b.y {
			t.clearRow(y, spare)
		}
	case 2:
		for y := range t.rows {
			t.clearRow(y, spare)
		}
	case 3:
		b.back.clear()
	}
}

// unwrapAbsolute is a slip of xterm.js: the row after the cursor, which is to be
// no longer wrapped, is looked for from the scrollback's top.
func (t *Terminal) unwrapAbsolute(y int) {
	b := t.b
	switch base := b.base(); {
	case y < base:
		b.back.unwrap(y)
	case y-base < len(b.rows):
		b.rows[y-base].wrapped = false
	case b == t.alt:
		b.rows[0].wrapped = false // its list is a ring of as many lines as there are rows
	}
}

// eraseLine is EL, or DECSEL.
func (t *Terminal) eraseLine(what int, spare bool) {
	t.restrict(t.cols)
	b := t.b
	switch what {
	case 0:
		t.eraseRow(b.y, b.x, t.cols, b.x == 0, spare)
	case 1:
		t.eraseRow(b.y, 0, b.x+1, false, spare)
	case 2:
		t.eraseRow(b.y, 0, t.cols, true, spare)
	}
}
