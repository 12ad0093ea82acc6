package vt

import (
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// painter writes what draws lines on an xterm.js.
type painter struct {
	t     *Terminal
	out   []byte
	last  style // in force over there
	joint joint // with what the next character could join
	x     int   // where the cursor is after a line
	links int   // bytes that there is room for in addresses of links; without, they are left out
	plain bool  // only what is seen and of no effect: no link, no protection
	begun []int // where each of the lines began in out, and what was left of links
}

// size is how many bytes style writes at most to go from one style to another one.
func (p *painter) size(from, to style) int {
	n := 0
	if from.link != to.link {
		l := p.t.links.byNumber[to.link]
		n += len("\x1b]8;id=:;\x1b\\") + len(l.id) + len(l.uri)
	}
	from.link = to.link
	if from == to {
		return n
	}
	const flags = ^uint32(colourMask | rgbMask)
	n += len("\x1b[0m") + 3*bits.OnesCount32(to.fg&flags) + 3*bits.OnesCount32(to.bg&flags)
	if to.ext&underlineMask != 0 {
		n += len(":3")
	}
	if to.bg&protected != 0 {
		n += len("\x1b[1\"q")
	}
	for i, v := range [...]uint32{to.fg, to.bg, to.ext} {
		n += [...]int{0, [...]int{len(";97"), len(";107"), len(";58;5;15")}[i], len(";38;5;255"), len(";38;2;255;255;255")}[v&colourMask>>24]
	}
	return n
}

// text writes a control sequence, or part of one.
func (p *painter) text(s string) {
	p.out = append(p.out, s...)
	p.joint = 0
}

// print writes what stands in one cell. A sequence that does nothing keeps it from
// joining the cell before.
func (p *painter) print(s string) {
	for i, r := range s {
		j, _, joins := measure(r, p.joint)
		if i == 0 && joins {
			p.text(nothing)
			j, _, _ = measure(r, 0)
		}
		p.joint = j
	}
	p.out = append(p.out, s...)
}

// csi writes a control sequence with one number; 1 is left out.
func (p *painter) csi(n int, final byte) {
	p.joint = 0
	p.out = append(p.out, '\x1b', '[')
	if n != 1 {
		p.out = strconv.AppendInt(p.out, int64(n), 10)
	}
	p.out = append(p.out, final)
}

func (p *painter) at(x, y int) {
	p.joint = 0
	p.out = append(p.out, '\x1b', '[')
	p.out = strconv.AppendInt(p.out, int64(y+1), 10)
	p.out = append(p.out, ';')
	p.out = strconv.AppendInt(p.out, int64(x+1), 10)
	p.out = append(p.out, 'H')
}

// style brings a style into force.
func (p *painter) style(s style) {
	if p.plain {
		s.link = 0
		s.bg &^= protected
	}
	if s.link != p.last.link && s.link != 0 {
		l := p.t.links.byNumber[s.link]
		if n := len(l.id) + len(l.uri); n <= p.links {
			p.links -= n
		} else {
			s.link = 0
		}
	}
	if s.link != p.last.link {
		l := p.t.links.byNumber[s.link]
		p.text("\x1b]8;")
		if l.id != "" {
			p.text("id=" + l.id)
			if trimmed(l.id) != l.id { // spaces at the end of all parameters do not count
				p.text(":")
			}
		}
		p.text(";" + l.uri + "\x1b\\")
	}
	old := p.last
	old.link = s.link
	if s == old {
		p.last = s
		return
	}
	p.last = s
	p.text("\x1b[0")
	for _, f := range [...]struct {
		on   bool
		code string
	}{
		{s.fg&bold != 0, ";1"}, {s.bg&dim != 0, ";2"}, {s.bg&italic != 0, ";3"}, {s.fg&blink != 0, ";5"},
		{s.fg&inverse != 0, ";7"}, {s.fg&invisible != 0, ";8"}, {s.fg&strike != 0, ";9"}, {s.bg&overline != 0, ";53"},
	} {
		if f.on {
			p.text(f.code)
		}
	}
	if s.fg&underline != 0 {
		p.text(";4")
		if kind := s.ext & underlineMask >> underlineShift; kind > underlineSingle {
			p.out = append(p.out, ':', '0'+byte(kind))
		}
	}
	p.colour(s.fg, 30)
	p.colour(s.bg, 40)
	p.colour(s.ext, 50)
	p.out = append(p.out, 'm')
	if s.bg&protected != 0 {
		p.text("\x1b[1\"q")
	}
}

// shown is the style of a cell as it is seen.
func (p *painter) shown(c cell) style { return p.t.styles.of(c).seen() }

// seen is the style as it is seen: what does not count is not there, and what is
// underlined by its extension alone, as DECRC can leave it, is underlined.
func (s style) seen() style {
	switch {
	case s.bg&extended == 0:
		s.ext, s.link = 0, 0
	case s.link != 0:
	case s.ext&underlineMask != 0:
		s.fg |= underline
	case s.fg&underline == 0:
		s.bg &^= extended
		s.ext = 0
	}
	return s
}

// colour writes the numbers of a colour; base is 30, 40 or, for underlines, 50.
func (p *painter) colour(v uint32, base int) {
	number := func(sep byte, n uint32) {
		p.out = append(p.out, sep)
		p.out = strconv.AppendUint(p.out, uint64(n), 10)
	}
	index := v & paletteMask
	switch v & colourMask {
	case colour16:
		switch {
		case base == 50:
			p.text(";58;5")
			number(';', index)
		case index < 8:
			number(';', uint32(base)+index)
		default:
			number(';', uint32(base)+60+index-8)
		}
	case colour256:
		number(';', uint32(base)+8)
		number(';', 5)
		number(';', index)
	case colourRGB:
		number(';', uint32(base)+8)
		number(';', 2)
		number(';', v>>16&255)
		number(';', v>>8&255)
		number(';', v&255)
	}
}

// erasable says whether erasing leaves cells of this style: with a background and
// nothing else.
func erasable(s style) bool { return s == s.erased() }

// lines draws lines one below the other, from where the cursor is: column 0 of an
// empty row of row fill. All but the last end with a line feed or by wrapping.
func (p *painter) lines(lines []*line, top int) {
	var fill style
	if len(lines) > 0 && lines[0].wrapped && p.t.rows > 1 {
		p.wrappedTop()
	}
	p.begun = slices.Grow(p.begun[:0], len(lines))
	for i, l := range lines {
		p.begun = append(p.begun, len(p.out)+p.links)
		from := 0
		if i > 0 && l.wrapped {
			from = p.wrapped(lines[i-1], l, &fill, top+i >= p.t.rows)
		} else if i > 0 {
			p.style(style{})
			p.text("\r\n")
			fill = style{}
		}
		to := p.t.cols
		if p.leftMargin(l) && (i+1 < len(lines) && lines[i+1].wrapped || p.leaveMargin(l, from, fill)) {
			to--
		}
		p.x = p.line(l, from, to, fill)
	}
}

// newest draws lines and the rows of the screen below them: of the lines the newest that
// take up to room bytes, without the addresses of links.
func (p *painter) newest(lines, rows []*line, room int) {
	before := *p
	p.lines(slices.Concat(lines, rows), 0)
	first, screen := 0, p.begun[len(lines)]
	for first < len(lines) && screen-p.begun[first] > room {
		first++
	}
	if first == 0 {
		return
	}
	begun := p.begun
	*p = before
	p.begun = begun
	p.lines(slices.Concat(lines[first:], rows), 0)
}

// wrapped goes on in a line by wrapping from the one above. It returns the column
// from which to go on drawing.
func (p *painter) wrapped(above, l *line, fill *style, scrolls bool) int {
	if p.x == p.t.cols {
		return p.wrapInto(l, fill, scrolls)
	}
	p.csi(p.t.cols, 'G')
	s := p.shown(above.cells[p.t.cols-1])
	switch {
	case !p.leftMargin(above):
		p.style(s)
		p.print(" ")
		return p.wrapInto(l, fill, scrolls)
	case l.cells[0].width() == 2 && p.t.complete(l, 0) && l.prefix(0, 2) != "" && s == p.shown(l.cells[0]):
		return p.wrapInto(l, fill, scrolls) // it wraps by itself
	}
	p.style(s)
	p.print(wideBlank) // it leaves that column, and is erased below
	*fill = style{}
	if scrolls {
		*fill = s.erased()
	}
	p.text("\r")
	p.erase(*fill, 2)
	return 0
}

// wideBlank has no room in the last column.
const wideBlank = "\u3000"

// leftMargin says whether a line's last column is empty, as a wide character leaves
// it that has no room there and wraps. Who goes back over it, or makes the screen
// narrower, sees whether it is.
func (p *painter) leftMargin(l *line) bool {
	at := p.t.cols - 1
	last := l.cells[at]
	if _, n := p.t.drawn(l, at); n > 0 {
		return false
	}
	return erasable(p.shown(last)) || last.width() != 0 && !last.content()
}

// leaveMargin empties the last column of a row without wrapping, where erasing does not
// give its style: half of a wide character that is moved into it leaves it so.
func (p *painter) leaveMargin(l *line, from int, fill style) bool {
	cols := p.t.cols
	s := p.shown(l.cells[cols-1])
	if p.plain || erasable(s) {
		return false
	}
	p.csi(cols-1, 'G')
	p.style(s)
	p.print(wideBlank)
	p.csi(cols-1, 'G')
	p.text("\x1b[4h")
	p.print(" ")
	p.text("\x1b[4l")
	p.csi(cols-1, 'G')
	if at := cols - 2; from > at { // what stood there already is drawn again
		if l.cells[at].stub() {
			at--
			p.csi(at+1, 'G')
		}
		text, _ := p.t.drawn(l, at)
		p.style(p.shown(l.cells[at]))
		p.print(text)
		return true
	}
	p.erase(fill, 1)
	p.csi(from+1, 'G')
	return true
}

// wrappedTop makes the empty first row one that goes on with a line above, which
// is not drawn: the mark moves with a row that was wrapped into.
func (p *painter) wrappedTop() {
	p.style(style{})
	for range p.t.cols + 1 {
		p.print(" ")
	}
	p.text("\x1b[S\x1b[H\x1b[X")
}

// line draws cells from a column on, where the cursor is, up to another one. It
// returns the column where it left the cursor, the number of columns after printing
// the last one.
func (p *painter) line(l *line, from, to int, fill style) int {
	x := from
	for i := from; i < to; {
		c := l.cells[i]
		s := p.shown(c)
		if c.simple() { // most are: their text needs no memory of its own
			p.moveRight(i - x)
			p.style(s)
			p.print(l.text(i))
			i++
			x = i
			continue
		}
		if text, n := p.t.drawn(l, i); n > 0 {
			p.moveRight(i - x)
			p.style(s)
			p.print(text)
			i += n
			x = i
			continue
		}
		end := i + 1
		for end < to && !l.cells[end].content() && l.cells[end].style() == c.style() {
			end++
		}
		if s != fill {
			p.moveRight(i - x)
			x = p.blanks(s, i, end)
		}
		i = end
	}
	return x
}

// drawn is what is printed for a cell, and how many columns that takes; 0: it is drawn as
// empty. Where xterm.js has left a text in a cell that it does not fit, as much of it is
// printed as does: what stands after it has its own place.
func (t *Terminal) drawn(l *line, i int) (text string, columns int) {
	switch c := l.cells[i]; {
	case !c.content():
		return "", 0
	case c.simple():
		return l.text(i), 1
	case t.complete(l, i):
		if text = l.prefix(i, c.width()); text != "" {
			return text, c.width()
		}
		if text = l.prefix(i, 1); text != "" {
			return text + nothing + " ", 2
		}
	default: // half of a wide one
		if text = l.prefix(i, 1); text != "" {
			return text, 1
		}
	}
	return "", 0
}

// complete says whether a cell with text has all its columns.
func (t *Terminal) complete(l *line, i int) bool {
	c := l.cells[i]
	return c.width() == 1 || c.width() == 2 && i+1 < t.cols && l.cells[i+1].stub()
}

// prefix is as much of a cell's text as is one cluster of so many columns.
func (l *line) prefix(i, columns int) string {
	text, end := l.text(i), 0
	var last joint
	for at, r := range text {
		j, width, joins := measure(r, last)
		if at > 0 && !joins || width > columns {
			break
		}
		if last = j; width == columns {
			end = at + utf8.RuneLen(r)
		}
	}
	return text[:end]
}

// blanks draws empty cells, and returns where the cursor is.
func (p *painter) blanks(s style, from, to int) int {
	if !erasable(s) { // they can only be printed
		p.style(s)
		for range to - from {
			p.print(" ")
		}
		return to
	}
	p.erase(s, to-from)
	return from
}

// erase empties n cells from the cursor on.
func (p *painter) erase(s style, n int) {
	s.link = p.last.link // of no matter to what is erased, and it may be long
	p.style(s)
	p.csi(n, 'X')
}

func (p *painter) moveRight(n int) {
	if n > 0 {
		p.csi(n, 'C')
	}
}

// wrapInto begins a line that goes on with the one above, and mends what that
// left there. It returns the column from which to go on drawing.
func (p *painter) wrapInto(l *line, fill *style, scrolls bool) int {
	s := p.shown(l.cells[0])
	p.style(s)
	*fill = style{}
	if scrolls {
		*fill = s.erased()
	}
	text, columns := p.t.drawn(l, 0)
	if columns == 0 {
		p.print(" ")
		p.text("\r")
		if *fill == s || erasable(s) {
			p.csi(1, 'X')
		}
		return 0
	}
	p.print(text)
	return columns
}
