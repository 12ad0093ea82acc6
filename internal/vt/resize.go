package vt

import "slices"

// Resize gives the terminal another size, brought within the limits. Lines of the
// normal screen and its scrollback that were wrapped are wrapped anew, but not the
// one with the cursor: the program will draw that itself. All is as xterm.js does
// it, so that a page that is resized at the same byte shows the same; but of very wide
// lines (beyond 1,677 columns, where there are 10,000) the oldest are forgotten.
func (t *Terminal) Resize(cols, rows int) {
	cols, rows = Fit(cols, rows)
	if cols == t.cols && rows == t.rows {
		return
	}
	t.endRun()
	for _, b := range []*buffer{t.normal, t.alt} {
		b.forget(b.base() + len(b.rows) - unpackedMost/max(cols, t.cols))
		l := &layout{b: b, styles: t.styles, cols: t.cols, rows: t.rows, base: b.base(), reflow: b == t.normal}
		l.lines = append(b.back.lines(0, l.base, t.styles), b.rows...)
		l.resize(cols, rows)
		l.store(cols, rows)
		b.tabStops(cols, cols)
	}
	t.cols, t.rows = cols, rows
	t.restyle()
}

// forget drops the n oldest lines.
func (b *buffer) forget(n int) {
	for range min(n, b.base()) {
		b.back.drop()
		b.saved.y = max(b.saved.y-1, 0)
	}
}

// layout is a buffer while it is resized: all its lines in one list.
type layout struct {
	b          *buffer
	styles     *styles
	lines      []*line
	base       int // the screen's first line in lines
	cols, rows int // before
	reflow     bool
}

// store puts the lines back into screen and scrollback.
func (l *layout) store(cols, rows int) {
	l.b.back.clear()
	l.b.back.max = max(l.b.max-rows, 0)
	l.base = min(l.base, len(l.lines))
	for _, row := range l.lines[:l.base] {
		l.b.back.push(row, l.styles)
	}
	l.b.rows = slices.Clone(l.lines[l.base:]) // lest it keeps all of them in memory
	for len(l.lines) > 0 && len(l.b.rows) < rows {
		l.b.rows = append(l.b.rows, newLine(cols, blank(0)))
	}
}

func (l *layout) resize(cols, rows int) {
	b := l.b
	b.max = max(b.max, rows+b.kept) // as in xterm.js an empty list is not made shorter
	if len(l.lines) > 0 {
		if l.cols < cols {
			l.setWidth(cols)
		}
		added := l.setHeight(cols, rows)
		if b.max > rows+b.kept {
			b.max = rows + b.kept
			l.trim(max(len(l.lines)-b.max, 0))
		}
		b.x = min(b.x, cols-1)
		b.y = min(b.y, rows-1) + added
		b.saved.x = min(b.saved.x, cols-1)
		b.top = 0
	}
	b.bottom = rows - 1
	if !l.reflow || len(l.lines) == 0 {
		return
	}
	switch {
	case cols > l.cols:
		l.widen(cols, rows)
	case cols < l.cols:
		l.narrow(cols, rows)
		l.setWidth(cols)
	}
}

func (l *layout) setWidth(cols int) {
	for _, row := range l.lines {
		row.resize(cols, blank(0))
	}
}

// setHeight adds or takes lines, and says by how many rows the cursor moves down
// as lines come back from the scrollback.
func (l *layout) setHeight(cols, rows int) (added int) {
	b := l.b
	for y := l.rows; y < rows; y++ {
		if len(l.lines) >= rows+l.base {
			continue
		}
		if l.base > 0 && len(l.lines) <= l.base+b.y+added+1 {
			l.base--
			added++
		} else {
			l.lines = append(l.lines, newLine(cols, blank(0)))
			l.lines = l.lines[max(len(l.lines)-b.max, 0):]
		}
	}
	for y := l.rows; y > rows; y-- {
		if len(l.lines) <= rows+l.base {
			continue
		}
		if len(l.lines) > l.base+b.y+1 {
			l.lines = l.lines[:len(l.lines)-1]
		} else {
			l.base++
		}
	}
	return added
}

func (l *layout) trim(n int) {
	if n == 0 {
		return
	}
	l.lines = l.lines[n:]
	l.base = max(l.base-n, 0)
	l.b.saved.y = max(l.b.saved.y-n, 0)
}

// paragraph is line y and those after it that go on with it.
func (l *layout) paragraph(y int) []*line {
	end := y + 1
	for end < len(l.lines) && l.lines[end].wrapped {
		end++
	}
	return l.lines[y:end]
}

// filled is how many columns of line i of a paragraph count: all, but in the last
// those with text, and not the column that a wide character had no room in.
func filled(p []*line, i, cols int) int {
	if i == len(p)-1 {
		return p[i].trimmed()
	}
	last := p[i].cells[cols-1]
	if !last.content() && last.width() == 1 && p[i+1].cells[0].width() == 2 {
		return cols - 1
	}
	return cols
}

// widen joins what was wrapped.
func (l *layout) widen(cols, rows int) {
	b := l.b
	cursor := l.base + b.y
	var kept []*line
	removed := 0
	for y := 0; y < len(l.lines); {
		p := l.paragraph(y)
		n := 0
		if len(p) > 1 && (cursor < y || cursor >= y+len(p)) {
			n = joinParagraph(p, l.cols, cols)
		}
		kept = append(kept, p[:len(p)-n]...)
		removed += n
		y += len(p)
	}
	if removed == 0 {
		return
	}
	l.lines = kept
	for range removed {
		if l.base > 0 {
			l.base--
			continue
		}
		b.y = max(b.y-1, 0)
		if len(l.lines) < rows {
			l.lines = append(l.lines, newLine(cols, blank(0)))
		}
	}
	b.saved.y = max(b.saved.y-removed, 0)
}

// joinParagraph wraps a paragraph anew at more columns, and says how many of its
// lines are no longer needed.
func joinParagraph(p []*line, old, cols int) (removed int) {
	dest, destCol := 0, filled(p, 0, old)
	for src, srcCol := 1, 0; src < len(p); {
		size := filled(p, src, old)
		n := min(size-srcCol, cols-destCol)
		p[dest].copyFrom(p[src], srcCol, destCol, n, false)
		if destCol += n; destCol == cols {
			dest, destCol = dest+1, 0
		}
		if srcCol += n; srcCol == size {
			src, srcCol = src+1, 0
		}
		if destCol == 0 && dest > 0 && p[dest-1].cells[cols-1].width() == 2 {
			p[dest].copyFrom(p[dest-1], cols-1, 0, 1, false)
			destCol = 1
			p[dest-1].cells[cols-1] = blank(0)
		}
	}
	if dest < len(p) {
		p[dest].replace(destCol, cols, blank(0), nil)
	}
	for i := len(p) - 1; i > 0 && (i > dest || p[i].trimmed() == 0); i-- {
		removed++
	}
	return removed
}

// narrow wraps what has become too long, from the last line to the first.
func (l *layout) narrow(cols, rows int) {
	b := l.b
	extra := map[int][]*line{} // by the index after which they come
	all, total, made := l.lines, 0, 0
	for y := len(all) - 1; y >= 0; y-- {
		last := y
		if !all[y].wrapped && all[y].trimmed() <= cols {
			continue
		}
		for all[y].wrapped && y > 0 {
			y--
		}
		if cursor := l.base + b.y; cursor >= y && cursor <= last {
			continue
		}
		after := len(all) - 1 - last + made
		added, spare := l.split(all[y:last+1], cols, b.max+rows-after)
		if added > 0 {
			total += added
		}
		if len(spare) > 0 {
			extra[last] = spare
			made += len(spare)
		}
		l.shiftView(rows, added, total)
	}
	if total == 0 {
		return
	}
	var out []*line
	for i := range all { // of lines that fell off the end, what was split off stays
		if i < len(l.lines) {
			out = append(out, all[i])
		}
		out = append(out, extra[i]...)
	}
	l.lines = out[max(len(out)-b.max, 0):]
}

// wrapping is a paragraph that is wrapped at fewer columns: its own lines, and those
// that it needs more. Of the latter only as many are made as there is room for in the
// end; first is the index of the first one.
type wrapping struct {
	own, spare []*line
	first      int
	sizes      []int // the columns that each takes
}

// line is line i, nil when it was not made.
func (w *wrapping) line(i int) *line {
	switch {
	case i < len(w.own):
		return w.own[i]
	case i >= w.first && i-w.first < len(w.spare):
		return w.spare[i-w.first]
	}
	return nil
}

// split wraps one paragraph at fewer columns, of which the last room lines may stay. It
// says how many more it needs, and returns those of them that come after its own.
func (l *layout) split(own []*line, cols, room int) (added int, spare []*line) {
	w := wrapping{own: own, sizes: splitSizes(own, l.cols, cols)}
	added = len(w.sizes) - len(own)
	from := len(w.sizes) - room // what is before it falls off in the end
	if room <= 0 {
		return added, nil
	}
	w.first = max(len(own), from)
	end := own[len(own)-1].trimmed()
	for range max(len(w.sizes)-w.first, 0) {
		row := newLine(cols, blank(0))
		row.wrapped = true
		w.spare = append(w.spare, row)
	}
	if len(w.sizes) > 0 {
		w.move(from, end, l.cols)
	}
	for i := max(from, 0); i < len(w.sizes); i++ {
		if row := w.line(i); row != nil && w.sizes[i] < cols {
			row.cells[w.sizes[i]] = blank(0)
		}
	}
	return added, w.spare
}

// move moves the text backwards from the last of the own lines, where it ends at column
// end, to the last of all, and stops before line from.
func (w *wrapping) move(from, end, old int) {
	dest := len(w.sizes) - 1
	destCol := w.sizes[dest]
	if destCol == 0 {
		if dest--; dest < 0 {
			return
		}
		destCol = w.sizes[dest]
	}
	for src, srcCol := len(w.own)-1, end; src >= 0; {
		n := min(srcCol, destCol)
		if dest < max(from, 0) {
			return
		}
		row := w.line(dest)
		if row == nil {
			return
		}
		row.copyFrom(w.own[src], srcCol-n, destCol-n, n, true)
		if destCol -= n; destCol == 0 {
			if dest--; dest >= 0 {
				destCol = w.sizes[dest]
			}
		}
		if srcCol -= n; srcCol == 0 {
			src--
			srcCol = filled(w.own, max(src, 0), old)
		}
	}
}

// splitSizes is how many columns each line of a paragraph takes at fewer columns:
// all, or one less where a wide character has no room.
func splitSizes(p []*line, old, cols int) (sizes []int) {
	need := 0
	for i := range p {
		need += filled(p, i, old)
	}
	col, at, have := 0, 0, 0
	for have < need {
		if need-have < cols {
			return append(sizes, need-have)
		}
		col += cols
		if at >= len(p) {
			return append(sizes, need-have)
		}
		if size := filled(p, at, old); col > size {
			col -= size
			at++
		}
		n := cols
		if at < len(p) && col <= len(p[at].cells) && p[at].cells[col-1].width() == 2 {
			col--
			n--
		}
		sizes = append(sizes, n)
		have += n
	}
	return sizes
}

// shiftView keeps the screen where it is in the text as lines are added.
func (l *layout) shiftView(rows, added, total int) {
	b := l.b
	trimmed := max(0, len(l.lines)-b.max+added)
	if l.base == 0 && b.y != len(l.lines)-1 {
		trimmed = max(0, b.y-b.max+added)
	}
	for range added - trimmed {
		switch {
		case l.base == 0 && b.y < rows-1:
			b.y++
			l.lines = l.lines[:len(l.lines)-1]
		case l.base == 0:
			l.base++
		case l.base < min(b.max, len(l.lines)+total)-rows:
			l.base++
		}
	}
	b.saved.y = min(b.saved.y+added, l.base+rows-1)
}
