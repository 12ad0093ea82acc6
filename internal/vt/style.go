package vt

import "math/rand/v2"

// style is all that a cell has besides its text. The layout is xterm.js's own, so
// that the two can be compared bit by bit.
//
//	fg, bg  bits 0–23 the colour (an index, or RGB), 24–25 its kind, 26–31 flags
//	ext     bits 0–25 the underline's colour, 26–28 its style
//	link    a number of links; 0: none
type style struct{ fg, bg, ext, link uint32 }

// Kinds of colours.
const (
	colourMask  = 0x3000000
	colour16    = 0x1000000
	colour256   = 0x2000000
	colourRGB   = 0x3000000
	rgbMask     = 0xFFFFFF
	paletteMask = 0xFF
)

// Flags in fg.
const (
	inverse   = 0x4000000
	bold      = 0x8000000
	underline = 0x10000000
	blink     = 0x20000000
	invisible = 0x40000000
	strike    = 0x80000000
)

// Flags in bg.
const (
	italic    = 0x4000000
	dim       = 0x8000000
	extended  = 0x10000000 // ext and link count
	protected = 0x20000000
	overline  = 0x40000000
)

const (
	underlineShift = 26
	underlineMask  = 7 << underlineShift
)

// The styles of underlines.
const (
	underlineNone = iota
	underlineSingle
	underlineDouble
	underlineCurly
	underlineDotted
	underlineDashed
)

// underlineStyle is how it is drawn: links are dashed.
func (s style) underlineStyle() uint32 {
	if s.link != 0 {
		return underlineDashed
	}
	return s.ext & underlineMask >> underlineShift
}

// setUnderline is SGR 4 and 21, and 24 with underlineNone.
func (s *style) setUnderline(kind uint32) {
	if kind > underlineDashed {
		kind = underlineSingle
	}
	s.ext = s.ext&^underlineMask | kind<<underlineShift
	if kind == underlineNone {
		s.fg &^= underline
	} else {
		s.fg |= underline
	}
	s.update()
}

// update sets the flag that says whether ext and link count.
func (s *style) update() {
	if s.underlineStyle() == underlineNone && s.link == 0 {
		s.bg &^= extended
	} else {
		s.bg |= extended
	}
}

// erased is the style of what is erased while s is in force: its background.
func (s style) erased() style { return style{bg: s.bg & (colourMask | rgbMask)} }

// stylesStart is how many styles there may be before unused ones are looked for.
const stylesStart = 4096

// styles numbers the styles in use. 0 is the default.
type styles struct {
	all   []style
	slots []uint32 // numbers by the hash of their style, or the next free place; 0: empty
	shift int      // of a 64-bit hash, to have as many bits as there are slots
	limit int      // at so many, find the unused
}

// slotBits is for how many slots there are at first, a power of two.
const slotBits = 6

func newStyles() *styles {
	s := &styles{limit: stylesStart}
	s.clear()
	return s
}

func (s *styles) clear() {
	s.all, s.slots, s.shift = []style{{}}, make([]uint32, 1<<slotBits), 64-slotBits
}

func (s *styles) of(c cell) style { return s.all[c.style()] }

func (s *styles) protected(c cell) bool { return s.all[c.style()].bg&protected != 0 }

func (s *styles) number(st style) uint32 {
	if st == (style{}) {
		return 0
	}
	slot := s.slot(st)
	if *slot == 0 {
		if 2*len(s.all) >= len(s.slots) {
			s.grow()
			slot = s.slot(st)
		}
		*slot = uint32(len(s.all))
		s.all = append(s.all, st)
	}
	return *slot
}

// styleSeeds hash by multiplication, twice, of which the high bits depend on all.
// They are odd and of chance: nobody can write styles that all have one place.
var styleSeeds = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}

func (s style) hash() uint64 {
	h := (uint64(s.fg)<<32|uint64(s.bg))*styleSeeds[0] ^ (uint64(s.ext)<<32|uint64(s.link))*styleSeeds[1]
	return (h ^ h>>32) * styleSeeds[0]
}

// slot is where the number of a style is, or has its place. Half of the slots at
// least are empty.
func (s *styles) slot(st style) *uint32 {
	for i := st.hash() >> s.shift; ; i++ {
		slot := &s.slots[i&uint64(len(s.slots)-1)]
		if n := *slot; n == 0 || s.all[n] == st {
			return slot
		}
	}
}

func (s *styles) grow() {
	s.slots = make([]uint32, 2*len(s.slots))
	s.shift--
	for n, st := range s.all[1:] {
		*s.slot(st) = uint32(n + 1)
	}
}

func (s *styles) full() bool { return len(s.all) > s.limit }

// collect keeps only the styles of these lines.
func (s *styles) collect(lines func(each func(*line))) {
	old := s.all
	s.clear()
	lines(func(l *line) {
		for i, c := range l.cells {
			if n := c.style(); n != 0 {
				l.cells[i] = c.withStyle(s.number(old[n]))
			}
		}
	})
	s.limit = max(stylesStart, 2*len(s.all))
}
