package vt

// cell is one column of a line: what stands there, and the number of its style.
//
//	bits 0–20   the code point; 0: nothing was printed here
//	bit 21      the text is a cluster of several code points, in line.clusters
//	bits 22–23  columns that it takes: 1, 2, or 0 for the second half of a wide one
//	bits 32–63  the style, an index into styles
type cell uint64

const (
	codeMask    cell = 0x1FFFFF
	clusterBit  cell = 1 << 21
	contentMask cell = codeMask | clusterBit
	widthShift       = 22
	widthMask   cell = 3 << widthShift
	oneWide     cell = 1 << widthShift
	styleShift       = 32
)

func makeCell(code rune, width int, style uint32) cell {
	return cell(code) | cell(width)<<widthShift | cell(style)<<styleShift
}

// blank is a cell that nothing was printed in.
func blank(style uint32) cell { return oneWide | cell(style)<<styleShift }

func (c cell) width() int    { return int(c & widthMask >> widthShift) }
func (c cell) code() rune    { return rune(c & codeMask) }
func (c cell) cluster() bool { return c&clusterBit != 0 }
func (c cell) content() bool { return c&contentMask != 0 }
func (c cell) style() uint32 { return uint32(c >> styleShift) }
func (c cell) stub() bool    { return c&(widthMask|contentMask) == 0 } // the second half of a wide one

// simple says whether it is one character of one column, before the first mark (U+0300).
func (c cell) simple() bool {
	return c&(widthMask|clusterBit) == oneWide && c.code() > 0 && c.code() < 0x300
}

func (c cell) withStyle(s uint32) cell {
	return c&(1<<styleShift-1) | cell(s)<<styleShift
}

// line is one row. It may be longer than the screen is wide: the alternate
// screen does not cut its lines when it becomes narrower, as in xterm.js.
type line struct {
	cells    []cell
	clusters map[int]string // by column; what a cell without clusterBit left here means nothing
	wrapped  bool           // it goes on what the line above began
}

func newLine(cols int, fill cell) *line {
	l := &line{cells: make([]cell, cols)}
	fillCells(l.cells, fill)
	return l
}

func fillCells(cells []cell, with cell) {
	for len(cells) >= 8 {
		c := cells[:8]
		c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7] = with, with, with, with, with, with, with, with
		cells = cells[8:]
	}
	for i := range cells {
		cells[i] = with
	}
}

// text is what a cell shows; empty: nothing.
func (l *line) text(i int) string {
	c := l.cells[i]
	switch {
	case c.cluster():
		return l.clusters[i]
	case c.code() != 0:
		return string(c.code())
	}
	return ""
}

func (l *line) setCluster(i int, s string) {
	if l.clusters == nil {
		l.clusters = map[int]string{}
	}
	l.clusters[i] = s
}

// put copies a cell from another place.
func (l *line) put(i int, from *line, j int) {
	c := from.cells[j]
	if c.cluster() {
		l.setCluster(i, from.clusters[j])
	}
	l.cells[i] = c
}

// fill makes the whole line one cell.
func (l *line) fill(with cell) {
	l.clusters = nil
	fillCells(l.cells, with)
}

// renew makes a line that is no longer shown an empty one.
func (l *line) renew(cols int, fill cell) *line {
	if cap(l.cells) < cols {
		l.cells = make([]cell, cols)
	}
	l.cells = l.cells[:cols]
	l.fill(fill)
	l.wrapped = false
	return l
}

// fillUnprotected does so but for protected cells (DECSCA).
func (l *line) fillUnprotected(start, end int, with cell, styles *styles) {
	for i := start; i < end && i < len(l.cells); i++ {
		if !styles.protected(l.cells[i]) {
			l.cells[i] = with
		}
	}
}

// insert moves what is at pos and after it n columns to the right.
func (l *line) insert(pos, n int, fill cell) {
	size := len(l.cells)
	pos %= size
	if pos > 0 && l.cells[pos-1].width() == 2 {
		l.cells[pos-1] = fill
	}
	if n < size-pos {
		if l.clusters == nil {
			copy(l.cells[pos+n:], l.cells[pos:size-n])
		} else {
			for i := size - pos - n - 1; i >= 0; i-- {
				l.put(pos+n+i, l, pos+i)
			}
		}
		fillCells(l.cells[pos:pos+n], fill)
	} else {
		fillCells(l.cells[pos:], fill)
	}
	if l.cells[size-1].width() == 2 {
		l.cells[size-1] = fill
	}
}

// remove takes n columns out at pos; what follows moves left.
func (l *line) remove(pos, n int, fill cell) {
	size := len(l.cells)
	pos %= size
	if n < size-pos {
		if l.clusters == nil {
			copy(l.cells[pos:], l.cells[pos+n:])
		} else {
			for i := range size - pos - n {
				l.put(pos+i, l, pos+n+i)
			}
		}
		fillCells(l.cells[size-n:], fill)
	} else {
		fillCells(l.cells[pos:], fill)
	}
	if pos > 0 && l.cells[pos-1].width() == 2 {
		l.cells[pos-1] = fill
	}
	if l.cells[pos].stub() {
		l.cells[pos] = fill
	}
}

// replace fills columns start to end, and the other halves of wide characters
// that it cuts. keep leaves protected cells as they are.
func (l *line) replace(start, end int, fill cell, keep *styles) {
	size := len(l.cells)
	if start > 0 && start <= size && l.cells[start-1].width() == 2 && (keep == nil || !keep.protected(l.cells[start-1])) {
		l.cells[start-1] = fill
	}
	if end > 0 && end < size && l.cells[end-1].width() == 2 && (keep == nil || !keep.protected(l.cells[end])) {
		l.cells[end] = fill
	}
	if keep != nil {
		l.fillUnprotected(start, end, fill, keep)
		return
	}
	if start < size && start < end {
		fillCells(l.cells[start:min(end, size)], fill)
	}
}

// resize makes the line cols long.
func (l *line) resize(cols int, fill cell) {
	have := len(l.cells)
	if cols == have { // as xterm.js: clusters behind the end stay
		return
	}
	if cols > have {
		if cap(l.cells) < cols {
			l.cells = append(make([]cell, 0, cols), l.cells...)
		}
		l.cells = l.cells[:cols]
		fillCells(l.cells[have:], fill)
		return
	}
	l.cells = l.cells[:cols]
	for i := range l.clusters {
		if i >= cols {
			delete(l.clusters, i)
		}
	}
}

// trimmed is the column after the last character.
func (l *line) trimmed() int {
	for i := len(l.cells) - 1; i >= 0; i-- {
		if l.cells[i].content() {
			return i + l.cells[i].width()
		}
	}
	return 0
}

// copyFrom copies length cells, as far as there are so many. backwards is for a
// source that lies to the left in the same line.
func (l *line) copyFrom(src *line, srcCol, destCol, length int, backwards bool) {
	at := func(l *line, i int) *cell {
		if i < 0 || i >= len(l.cells) {
			return new(cell)
		}
		return &l.cells[i]
	}
	for i := range length {
		if backwards {
			i = length - 1 - i
		}
		*at(l, destCol+i) = *at(src, srcCol+i)
	}
	if len(src.clusters) == 0 {
		return
	}
	// As xterm.js has it: also those after the copied columns, one after the other,
	// within one line too. But none beyond the line.
	var columns []int
	for i := srcCol; i < min(len(src.cells), srcCol+len(l.cells)-destCol); i++ {
		if _, ok := src.clusters[i]; ok {
			columns = append(columns, i)
		}
	}
	for _, i := range columns {
		l.setCluster(i-srcCol+destCol, src.clusters[i])
	}
}
