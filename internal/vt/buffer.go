package vt

const tabWidth = 8

// buffer is one of the two screens.
type buffer struct {
	rows        []*line     // the screen; after a resize there may be some below it
	spare       []*line     // of an emptied screen, to be used again
	back        *scrollback // what is above
	kept        int         // lines that there may be above
	max         int         // lines that there may be in all
	x, y        int
	top, bottom int // the scroll region's first and last row
	tabs        []bool
	saved       savedCursor
}

// savedCursor is what DECSC keeps. As in xterm.js the row counts from the top of
// the scrollback, and of the style only colours and flags are kept.
type savedCursor struct {
	x, y    int
	fg, bg  uint32
	charset *charset
}

func newBuffer(cols, rows, kept int) *buffer {
	b := &buffer{back: &scrollback{}, kept: kept}
	b.clear(cols, rows)
	return b
}

// clear empties it; fill must follow before it is drawn on.
func (b *buffer) clear(cols, rows int) {
	if len(b.rows) > 0 {
		b.rows, b.spare = nil, b.rows
	}
	b.back.clear()
	b.max, b.back.max = rows+b.kept, b.kept
	b.x, b.y, b.top, b.bottom = 0, 0, 0, rows-1
	b.tabs = nil
	b.tabStops(0, cols)
}

// fill makes an empty buffer's rows.
func (b *buffer) fill(cols, rows int, with cell) {
	if len(b.rows) > 0 {
		return
	}
	b.rows, b.spare = b.spare[:min(rows, len(b.spare))], nil
	for _, l := range b.rows {
		l.renew(cols, with)
	}
	for len(b.rows) < rows {
		b.rows = append(b.rows, newLine(cols, with))
	}
}

// base is how many lines are above the screen.
func (b *buffer) base() int { return b.back.len() }

// tabStops sets a stop at each eighth column from from on.
func (b *buffer) tabStops(from, cols int) {
	if from > 0 && !b.tab(from) {
		from = b.previousTab(from, cols)
	}
	for ; from < cols; from += tabWidth {
		b.setTab(from, true)
	}
}

func (b *buffer) tab(x int) bool { return x >= 0 && x < len(b.tabs) && b.tabs[x] }

func (b *buffer) setTab(x int, on bool) {
	if x >= len(b.tabs) {
		if !on {
			return
		}
		b.tabs = append(b.tabs, make([]bool, x+1-len(b.tabs))...)
	}
	b.tabs[x] = on
}

func (b *buffer) previousTab(x, cols int) int {
	for x--; !b.tab(x) && x > 0; x-- {
	}
	return min(max(x, 0), cols-1)
}

func (b *buffer) nextTab(x, cols int) int {
	for x++; !b.tab(x) && x < cols; x++ {
	}
	return min(x, cols-1)
}

// row is the line that the cursor is in.
func (b *buffer) row() *line { return b.rows[b.y] }

// scroll moves the scroll region up by one. At the screen's top the first line
// goes to the scrollback.
func (t *Terminal) scroll(wrapped bool) {
	b := t.b
	l := b.rows[b.top]
	if b.top == 0 {
		b.back.push(l, t.styles)
	}
	copy(b.rows[b.top:b.bottom], b.rows[b.top+1:b.bottom+1])
	b.rows[b.bottom] = l.renew(t.cols, blank(t.eraseID))
	l.wrapped = wrapped
}

// rotate moves rows from to to of the screen up by n, or down; the rows that come
// free are empty.
func (t *Terminal) rotate(from, to, n int, down bool, fill cell) {
	rows := t.b.rows[from : to+1]
	n = min(n, len(rows))
	free, moved, rest := rows[:n], rows[n:], rows[:len(rows)-n]
	at := rows[len(rows)-n:] // where the free ones come to be
	if down {
		free, moved, rest, at = at, rest, moved, free
	}
	t.freed = append(t.freed[:0], free...)
	copy(rest, moved)
	for i, l := range t.freed {
		at[i] = l.renew(t.cols, fill)
	}
	clear(t.freed)
}
