package vt

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// The lines above the screen are kept packed: a line of plain text takes little
// more than its bytes. They are unpacked to be looked at, and when a resize has
// all of them wrapped anew.
//
//	flags           1 byte: lineWrapped, linePlain
//	columns, cells  uvarints; the columns after the cells are blank
//	runs            a uvarint and so many styles, each with its number of cells
//	text            of linePlain a byte for each cell; else tokens
//	clusters        of lineStale a uvarint and so many columns with texts that no cell has
//	                any more; xterm.js may show them again after a resize, and so do we
const (
	lineWrapped = 1 << iota
	linePlain
	lineStale
)

// Tokens are UTF-8 for a character in one column, 0 for a blank, or:
const (
	tokenWide    = 0xFC // a character and the empty second half
	tokenRaw     = 0xFD // a cell as it is
	tokenCluster = 0xFE // columns, length, text
)

const (
	blockFirst = 1 << 10
	blockFull  = 32 << 10 // bytes after which the next block begins

	scrollbackBytes = 32 << 20 // in all; ordinary lines are far from it
	unpackedMost    = 1 << 24  // cells of those that are unpacked at a time: 128 MiB
)

// block holds lines one after the other.
type block struct {
	data  []byte
	first int   // of starts, the oldest that still counts
	start []int // where each line begins
}

// scrollback is the lines above the screen, the oldest first.
type scrollback struct {
	max    int
	count  int
	blocks []*block
	bytes  int    // of data
	spare  *block // an emptied one, to be filled again
}

func (s *scrollback) len() int { return s.count }

func (s *scrollback) clear() {
	s.count, s.bytes, s.blocks, s.spare = 0, 0, nil, nil
}

// push adds a line below the newest. Of a full scrollback the oldest goes.
func (s *scrollback) push(l *line, st *styles) {
	if s.max == 0 {
		return
	}
	var b *block
	if n := len(s.blocks); n > 0 && len(s.blocks[n-1].data) < blockFull {
		b = s.blocks[n-1]
	} else {
		b = s.next()
	}
	at := len(b.data)
	b.start = append(b.start, at)
	b.data = pack(b.data, l, st)
	s.bytes += len(b.data) - at
	s.count++
	for s.count > s.max || s.bytes > scrollbackBytes && s.count > 1 {
		s.drop()
	}
}

func (s *scrollback) next() *block {
	b := s.spare
	s.spare = nil
	if b == nil {
		b = &block{}
		if len(s.blocks) == 0 {
			b.data = make([]byte, 0, blockFirst)
		} else {
			b.data = make([]byte, 0, blockFull+blockFirst)
		}
	}
	s.blocks = append(s.blocks, b)
	return b
}

// drop forgets the oldest line.
func (s *scrollback) drop() {
	b := s.blocks[0]
	s.count--
	b.first++
	if b.first < len(b.start) {
		return
	}
	s.bytes -= len(b.data)
	s.blocks[0] = nil
	s.blocks = append(s.blocks[:0], s.blocks[1:]...)
	if cap(b.data) <= 2*blockFull { // a line can be huge
		b.data, b.start, b.first = b.data[:0], b.start[:0], 0
		s.spare = b
	}
}

// packed is the bytes of line i, the oldest being 0.
func (s *scrollback) packed(i int) []byte {
	for _, b := range s.blocks {
		n := len(b.start) - b.first
		if i < n {
			return b.data[b.start[b.first+i]:]
		}
		i -= n
	}
	return nil
}

// unwrap takes the mark from line i that it goes on what is above.
func (s *scrollback) unwrap(i int) {
	if p := s.packed(i); p != nil {
		p[0] &^= lineWrapped
	}
}

// lines unpacks lines from to to, the oldest first.
func (s *scrollback) lines(from, to int, st *styles) []*line {
	out := make([]*line, 0, to-from)
	at := 0
	for _, b := range s.blocks {
		n := len(b.start) - b.first
		for i := max(from-at, 0); i < n && at+i < to; i++ {
			out = append(out, unpack(b.data[b.start[b.first+i]:], st))
		}
		at += n
	}
	return out
}

// fitting is how many of the newest lines can be unpacked and drawn with about room
// bytes. size is of a change of style; a line begins and ends without one.
func (s *scrollback) fitting(lines, room int, size func(from, to style) int) (n int) {
	cells := unpackedMost
	for i := len(s.blocks) - 1; i >= 0; i-- {
		b := s.blocks[i]
		end := len(b.data)
		for j := len(b.start) - 1; j >= b.first; j-- {
			at := b.start[j]
			r := reader{b.data[at+1 : end]}
			cells -= int(r.uint())
			r.uint()
			var last style
			for runs := r.uint(); runs > 0; runs-- {
				r.uint()
				st := r.style()
				room -= size(last, st)
				last = st
			}
			room -= size(last, style{}) + len(r.rest) + len("\r\n")
			if n == lines || room < 0 || cells < 0 {
				return n
			}
			n++
			end = at
		}
	}
	return n
}

func pack(out []byte, l *line, st *styles) []byte {
	n := len(l.cells)
	for n > 0 && l.cells[n-1] == oneWide {
		n--
	}
	cells := l.cells[:n]
	var flags byte
	if l.wrapped {
		flags = lineWrapped
	}
	stale := l.stale(n)
	if len(stale) > 0 {
		flags |= lineStale
	}
	at := len(out)
	out = append(out, flags)
	out = binary.AppendUvarint(out, uint64(len(l.cells)))
	out = binary.AppendUvarint(out, uint64(n))
	if n == 0 {
		return packStale(append(out, 0), l, stale)
	}
	base := oneWide | cells[0]&^(1<<styleShift-1)
	head := len(out)
	out = packStyle(binary.AppendUvarint(append(out, 1), uint64(n)), st.of(base))
	out, plain := packPlain(out, cells, base)
	if plain {
		out[at] |= linePlain
		return packStale(out, l, stale)
	}
	return packStale(packTokens(packRuns(out[:head], cells, st), l, cells), l, stale)
}

// packPlain adds the text of cells that are all ASCII and of the style of base; ok
// is false when they are not.
func packPlain(out []byte, cells []cell, base cell) (_ []byte, ok bool) {
	var other cell
	for len(cells) >= 8 {
		c := cells[:8:8]
		// The low byte of each, whatever the others hold: they are looked at in the end.
		v0, v1, v2, v3 := c[0]^base, c[1]^base, c[2]^base, c[3]^base
		v4, v5, v6, v7 := c[4]^base, c[5]^base, c[6]^base, c[7]^base
		other |= v0 | v1 | v2 | v3 | v4 | v5 | v6 | v7
		out = binary.LittleEndian.AppendUint64(out,
			uint64(v0|v1<<8|v2<<16|v3<<24|v4<<32|v5<<40|v6<<48|v7<<56))
		cells = cells[8:]
	}
	for _, c := range cells {
		other |= c ^ base
		out = append(out, byte(c))
	}
	return out, other <= 0x7F
}

// stale is the columns of clusters that no cell has any more.
func (l *line) stale(cells int) (columns []int) {
	for i := range l.clusters {
		if i >= cells || !l.cells[i].cluster() {
			columns = append(columns, i)
		}
	}
	slices.Sort(columns)
	return columns
}

func packStale(out []byte, l *line, columns []int) []byte {
	if len(columns) == 0 {
		return out
	}
	out = binary.AppendUvarint(out, uint64(len(columns)))
	for _, i := range columns {
		s := l.clusters[i]
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(i)), uint64(len(s)))
		out = append(out, s...)
	}
	return out
}

func packRuns(out []byte, cells []cell, st *styles) []byte {
	runs := 1
	for i := 1; i < len(cells); i++ {
		if cells[i].style() != cells[i-1].style() {
			runs++
		}
	}
	out = binary.AppendUvarint(out, uint64(runs))
	for i := 0; i < len(cells); {
		j := i + 1
		for j < len(cells) && cells[j].style() == cells[i].style() {
			j++
		}
		out = packStyle(binary.AppendUvarint(out, uint64(j-i)), st.of(cells[i]))
		i = j
	}
	return out
}

func packStyle(out []byte, s style) []byte {
	parts := [...]uint32{s.fg, s.bg, s.ext, s.link}
	at := len(out)
	out = append(out, 0)
	for i, p := range parts {
		if p != 0 {
			out[at] |= 1 << i
			out = binary.AppendUvarint(out, uint64(p))
		}
	}
	return out
}

func packTokens(out []byte, l *line, cells []cell) []byte {
	for i := 0; i < len(cells); i++ {
		c := cells[i]
		switch {
		case c.cluster():
			s := l.clusters[i]
			out = append(out, tokenCluster, byte(c.width()))
			out = binary.AppendUvarint(out, uint64(len(s)))
			out = append(out, s...)
		case !c.content() && c.width() == 1:
			out = append(out, 0)
		case c.width() == 1:
			out = utf8.AppendRune(out, c.code())
		case c.width() == 2 && c.content() && i+1 < len(cells) && cells[i+1].stub():
			out = utf8.AppendRune(append(out, tokenWide), c.code())
			i++
		default:
			out = binary.LittleEndian.AppendUint32(append(out, tokenRaw), uint32(c))
		}
	}
	return out
}

// reader takes a packed line apart.
type reader struct{ rest []byte }

func (r *reader) uint() int {
	v, n := binary.Uvarint(r.rest)
	r.rest = r.rest[n:]
	return int(v)
}

func (r *reader) byte() byte {
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) rune() rune {
	c, n := utf8.DecodeRune(r.rest)
	r.rest = r.rest[n:]
	return c
}

func (r *reader) style() style {
	var parts [4]uint32
	mask := r.byte()
	for i := range parts {
		if mask&(1<<i) != 0 {
			parts[i] = uint32(r.uint())
		}
	}
	return style{parts[0], parts[1], parts[2], parts[3]}
}

func unpack(p []byte, st *styles) *line {
	r := reader{p}
	flags := r.byte()
	l := newLine(r.uint(), oneWide)
	l.wrapped = flags&lineWrapped != 0
	n := r.uint()
	for at, runs := 0, r.uint(); runs > 0; runs-- {
		count := r.uint()
		fillCells(l.cells[at:at+count], blank(st.number(r.style())))
		at += count
	}
	if flags&linePlain != 0 {
		for i := range n {
			l.cells[i] |= cell(r.rest[i])
		}
		r.rest = r.rest[n:]
	} else {
		for i := 0; i < n; i++ {
			i += r.token(l, i)
		}
	}
	if flags&lineStale != 0 {
		for n := r.uint(); n > 0; n-- {
			i := r.uint()
			l.setCluster(i, r.text())
		}
	}
	return l
}

func (r *reader) text() string {
	n := r.uint()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// token reads cell i, and says how many more it read.
func (r *reader) token(l *line, i int) int {
	const notWidth = ^(widthMask | contentMask)
	c := l.cells[i] & notWidth
	switch r.rest[0] {
	case 0:
		r.byte()
	case tokenWide:
		r.byte()
		l.cells[i] = c | cell(r.rune()) | 2*oneWide
		l.cells[i+1] &= notWidth
		return 1
	case tokenRaw:
		l.cells[i] = c | cell(binary.LittleEndian.Uint32(r.rest[1:]))
		r.rest = r.rest[5:]
	case tokenCluster:
		r.byte()
		l.cells[i] = c | clusterBit | cell(r.byte())<<widthShift
		l.setCluster(i, r.text())
	default:
		l.cells[i] |= cell(r.rune())
	}
	return 0
}

// links adds the numbers of all links in the scrollback.
func (s *scrollback) links(used map[uint32]bool) {
	for _, b := range s.blocks {
		for _, at := range b.start[b.first:] {
			r := reader{b.data[at+1:]}
			r.uint()
			r.uint()
			for runs := r.uint(); runs > 0; runs-- {
				r.uint()
				used[r.style().link] = true
			}
		}
	}
}
