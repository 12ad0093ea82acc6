package vt

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
	index map[style]uint32
	limit int // at so many, find the unused
	// recent are numbers given lately: looking into the map takes longer.
	recent [recentStyles]struct {
		style  style
		number uint32 // 0: none
	}
}

const recentStyles = 256

func newStyles() *styles {
	return &styles{all: []style{{}}, index: map[style]uint32{{}: 0}, limit: stylesStart}
}

func (s *styles) of(c cell) style { return s.all[c.style()] }

func (s *styles) protected(c cell) bool { return s.all[c.style()].bg&protected != 0 }

func (s *styles) number(st style) uint32 {
	if st == (style{}) {
		return 0
	}
	recent := &s.recent[(st.fg^st.bg*31^st.ext*17^st.fg>>16^st.bg>>11)%recentStyles]
	if recent.number != 0 && recent.style == st {
		return recent.number
	}
	recent.style, recent.number = st, s.find(st)
	return recent.number
}

func (s *styles) find(st style) uint32 {
	n, ok := s.index[st]
	if !ok {
		n = uint32(len(s.all))
		s.all = append(s.all, st)
		s.index[st] = n
	}
	return n
}

func (s *styles) full() bool { return len(s.all) > s.limit }

// collect keeps only the styles of these lines.
func (s *styles) collect(lines func(each func(*line))) {
	old := s.all
	s.all, s.index = []style{{}}, map[style]uint32{{}: 0}
	clear(s.recent[:])
	lines(func(l *line) {
		for i, c := range l.cells {
			if n := c.style(); n != 0 {
				l.cells[i] = c.withStyle(s.number(old[n]))
			}
		}
	})
	s.limit = max(stylesStart, 2*len(s.all))
}
