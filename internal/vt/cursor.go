package vt

// restrict brings the cursor onto the screen, in origin mode into the scroll
// region. last is the last column that it may be in.
func (t *Terminal) restrict(last int) {
	b := t.b
	b.x = min(last, max(0, b.x))
	if t.modes.origin {
		b.y = min(b.bottom, max(b.top, b.y))
	} else {
		b.y = min(t.rows-1, max(0, b.y))
	}
}

func (t *Terminal) moveTo(x, y int) {
	b := t.b
	if t.modes.origin {
		y += b.top
	}
	b.x, b.y = x, y
	t.restrict(t.cols - 1)
}

// moveBy adds; as in xterm.js a row of origin mode is counted twice.
func (t *Terminal) moveBy(x, y int) {
	t.restrict(t.cols - 1)
	t.moveTo(t.b.x+x, t.b.y+y)
}

func (t *Terminal) up(n int) {
	if room := t.b.y - t.b.top; room >= 0 {
		n = min(room, n)
	}
	t.moveBy(0, -n)
}

func (t *Terminal) down(n int) {
	if room := t.b.bottom - t.b.y; room >= 0 {
		n = min(room, n)
	}
	t.moveBy(0, n)
}

func (t *Terminal) lineFeed() {
	b := t.b
	if t.newLine {
		b.x = 0
	}
	b.y++
	switch {
	case b.y == b.bottom+1:
		b.y--
		t.scroll(false)
	case b.y >= t.rows:
		b.y = t.rows - 1
	default:
		b.row().wrapped = false
	}
	if b.x >= t.cols {
		b.x--
	}
}

// index is IND: down, and scroll at the bottom of the region.
func (t *Terminal) index() {
	t.restrict(t.cols - 1)
	b := t.b
	b.y++
	if b.y == b.bottom+1 {
		b.y--
		t.scroll(false)
	} else if b.y >= t.rows {
		b.y = t.rows - 1
	}
	t.restrict(t.cols - 1)
}

// reverseIndex is RI.
func (t *Terminal) reverseIndex() {
	t.restrict(t.cols - 1)
	b := t.b
	if b.y == b.top {
		t.rotate(b.top, b.bottom, 1, true, blank(t.eraseID))
		return
	}
	b.y--
	t.restrict(t.cols - 1)
}

func (t *Terminal) backspace() {
	b := t.b
	if !t.modes.reverseWrap {
		t.restrict(t.cols - 1)
		if b.x > 0 {
			b.x--
		}
		return
	}
	t.restrict(t.cols)
	switch {
	case b.x > 0:
		b.x--
	case b.y > b.top && b.y <= b.bottom && b.row().wrapped:
		b.row().wrapped = false
		b.y--
		b.x = t.cols - 1
		// An empty last column is where a wide character had no room.
		if c := b.row().cells[b.x]; c.width() != 0 && !c.content() {
			b.x--
		}
	}
	t.restrict(t.cols - 1)
}

func (t *Terminal) horizontalTab() {
	if t.b.x < t.cols {
		t.b.x = t.b.nextTab(t.b.x, t.cols)
	}
}

func (t *Terminal) forwardTabs(n int) {
	for range min(n, t.cols) {
		t.horizontalTab()
	}
}

func (t *Terminal) backwardTabs(n int) {
	if t.b.x >= t.cols {
		return
	}
	for range min(n, t.cols) {
		t.b.x = t.b.previousTab(t.b.x, t.cols)
	}
}

func (t *Terminal) saveCursor() {
	b := t.b
	b.saved = savedCursor{x: b.x, y: b.base() + b.y, fg: t.attr.fg, bg: t.attr.bg, charset: t.charset}
}

func (t *Terminal) restoreCursor() {
	b := t.b
	b.x, b.y = b.saved.x, max(b.saved.y-b.base(), 0)
	t.attr.fg, t.attr.bg = b.saved.fg, b.saved.bg
	t.restyle()
	t.charset = b.saved.charset
	t.restrict(t.cols - 1)
}

// execute is a control character.
func (t *Terminal) execute(code rune) {
	switch code {
	case 0x07:
		if t.o.Bell != nil {
			t.o.Bell()
		}
	case 0x08:
		t.backspace()
	case 0x09:
		t.horizontalTab()
	case 0x0A, 0x0B, 0x0C:
		t.lineFeed()
	case 0x0D:
		t.b.x = 0
	case 0x0E:
		t.shift(1)
	case 0x0F:
		t.shift(0)
	case 0x84:
		t.index()
	case 0x85:
		t.nextLine()
	case 0x88:
		t.b.setTab(t.b.x, true)
	}
}

// nextLine is NEL.
func (t *Terminal) nextLine() {
	t.b.x = 0
	t.index()
}

// escape is an escape sequence that is no control sequence.
func (t *Terminal) escape(ident uint32) {
	switch ident {
	case '\\':
		t.parser.query = t.parser.quietST
	case 'Z': // DECID
		t.parser.query = true
	case '7':
		t.saveCursor()
	case '8':
		t.restoreCursor()
	case 'D':
		t.index()
	case 'E':
		t.nextLine()
	case 'H':
		t.b.setTab(t.b.x, true)
	case 'M':
		t.reverseIndex()
	case '=':
		t.modes.keypad = true
	case '>':
		t.modes.keypad = false
	case 'c':
		t.reset()
	case 'n', '}':
		t.shift(2)
	case 'o', '|':
		t.shift(3)
	case '~':
		t.shift(1)
	case '%'<<8 | '@', '%'<<8 | 'G':
		t.shift(0)
		t.designate(0, nil)
	case '#'<<8 | '8':
		t.alignment()
	default:
		t.escapeCharset(byte(ident>>8), byte(ident), ident)
	}
}

// escapeCharset designates G0 to G3.
func (t *Terminal) escapeCharset(which, final byte, ident uint32) {
	if ident > 0xFFFF {
		return
	}
	set, known := nationalSets[final]
	if !known {
		return
	}
	switch which {
	case '(':
		t.designate(0, set)
	case ')', '-':
		t.designate(1, set)
	case '*', '.':
		t.designate(2, set)
	case '+':
		t.designate(3, set)
	}
}

// alignment is DECALN: the screen full of E. As in xterm.js it begins at the top of
// the region in origin mode, and what is beyond the screen is left as it is; the
// alternate screen is a ring there.
func (t *Terminal) alignment() {
	t.moveTo(0, 0)
	e := makeCell('E', 1, t.styles.number(style{fg: t.attr.fg, bg: t.attr.bg}))
	for i := range t.rows {
		y := t.b.y + i
		if t.b == t.alt {
			y %= t.rows
		}
		if y >= len(t.b.rows) {
			break
		}
		l := t.b.rows[y]
		l.fill(e)
		l.wrapped = false
	}
	t.moveTo(0, 0)
}
