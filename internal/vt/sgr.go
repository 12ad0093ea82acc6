package vt

// sgr is SGR: colours and the like of what is printed next.
func (t *Terminal) sgr(p *params) {
	a := &t.attr
	for i := 0; i < p.n; i++ {
		v := uint32(p.value[i])
		if v < uint32(len(sgrOps)) && sgrMore>>v&1 == 0 {
			op := &sgrOps[v]
			a.fg = a.fg&^op.fgOff | op.fg
			a.bg = a.bg&^op.bgOff | op.bg
			continue
		}
		if v == 0 && a.ext|a.link == 0 { // as sgrOne would
			a.fg, a.bg = 0, 0
			continue
		}
		i += t.sgrOne(p, i)
	}
	t.restyle()
}

// sgrOp is what most numbers do: take flags or colours of fg and bg away, and put
// others in. The others do more.
type sgrOp struct{ fgOff, fg, bgOff, bg uint32 }

// sgrMore has a bit for each number that does more.
var sgrMore = bitsOf(0, 4, 21, 24, 38, 48, 58, 59)

func bitsOf(numbers ...int) (out uint64) {
	for _, n := range numbers {
		out |= 1 << n
	}
	return out
}

var sgrOps = makeSGROps()

func makeSGROps() (ops [108]sgrOp) {
	flags := func(on, off int, fg, bg uint32) {
		ops[on].fg, ops[on].bg = fg, bg
		ops[off].fgOff |= fg
		ops[off].bgOff |= bg
	}
	flags(1, 22, bold, 0)
	flags(2, 22, 0, dim)
	flags(3, 23, 0, italic)
	flags(5, 25, blink, 0)
	flags(7, 27, inverse, 0)
	flags(8, 28, invisible, 0)
	flags(9, 29, strike, 0)
	flags(53, 55, 0, overline)
	for i := range uint32(8) {
		const old = colourMask | paletteMask
		ops[30+i] = sgrOp{fgOff: old, fg: colour16 | i}
		ops[40+i] = sgrOp{bgOff: old, bg: colour16 | i}
		ops[90+i] = sgrOp{fgOff: old, fg: colour16 | i | 8}
		ops[100+i] = sgrOp{bgOff: old, bg: colour16 | i | 8}
	}
	ops[39].fgOff = colourMask | rgbMask
	ops[49].bgOff = colourMask | rgbMask
	return ops
}

// sgrOne acts on number i, which does more, and says how many more it took.
func (t *Terminal) sgrOne(p *params, i int) int {
	a, v := &t.attr, p.value[i]
	switch v {
	case 0:
		a.plain()
	case 38, 48, 58:
		return a.colour(p, i)
	case 59:
		a.ext |= colourMask | rgbMask // as xterm.js has it: white
		a.update()
	case 4:
		kind := int32(underlineSingle)
		if s := p.subs(i); len(s) > 0 {
			kind = s[0]
		}
		a.setUnderline(uint32(kind))
	case 21:
		a.setUnderline(underlineDouble)
	case 24:
		a.setUnderline(underlineNone)
	}
	return 0
}

// plain is SGR 0. A link stays.
func (s *style) plain() {
	s.fg, s.bg = 0, 0
	s.ext &^= underlineMask | colourMask | rgbMask
	s.update()
}

// colour reads 38, 48 or 58 with what follows, in all the ways that are in use:
// 38;5;n and 38;2;r;g;b, with colons 38:5:n, 38:2:r:g:b and 38:2:space:r:g:b, and
// mixed ones. It says how many more numbers it took. This is xterm.js's reading.
func (s *style) colour(p *params, at int) int {
	if p.nsub > 0 {
		return s.colourMixed(p, at)
	}
	switch kind := p.get(at + 1); {
	case kind == 5 && at+2 < p.n:
		s.paint(p.value[at], colourMask|paletteMask, colour256|uint32(p.value[at+2]&255))
		return 2
	case kind == 2 && at+4 < p.n:
		rgb := uint32(p.value[at+2]&255)<<16 | uint32(p.value[at+3]&255)<<8 | uint32(p.value[at+4]&255)
		s.paint(p.value[at], colourMask|rgbMask, colourRGB|rgb)
		return 4
	}
	return s.colourMixed(p, at)
}

// paint sets the colour that 38, 48 or 58 stands for.
func (s *style) paint(which int32, off, colour uint32) {
	switch which {
	case 38:
		s.fg = s.fg&^off | colour
	case 48:
		s.bg = s.bg&^off | colour
	case 58:
		s.ext = s.ext&^off | colour
	}
}

// colourMixed is colour for the ways that are rare.
func (s *style) colourMixed(p *params, at int) int {
	got := [6]int32{2: -1} // which, kind, colour space, three values
	shift, taken := 0, 0
	for {
		got[taken+shift] = p.value[at+taken]
		if subs := p.subs(at + taken); len(subs) > 0 {
			for i, v := range subs {
				if got[1] == 5 {
					shift = 1
				}
				if i+taken+1+shift >= len(got) {
					break
				}
				got[taken+i+1+shift] = v
			}
			break
		}
		if got[1] == 5 && taken+shift >= 2 || got[1] == 2 && taken+shift >= 5 {
			break
		}
		if got[1] != 0 {
			shift = 1
		}
		taken++
		if at+taken >= p.n || taken+shift >= len(got) {
			break
		}
	}
	for i := range got[2:] {
		got[2+i] = max(got[2+i], 0)
	}
	switch got[1] {
	case 2:
		s.paint(got[0], colourMask|rgbMask, colourRGB|uint32(got[3]&255)<<16|uint32(got[4]&255)<<8|uint32(got[5]&255))
	case 5:
		s.paint(got[0], colourMask|paletteMask, colour256|uint32(got[3]&255))
	}
	return taken
}
