package vt

// sgr is SGR: colours and the like of what is printed next.
func (t *Terminal) sgr(p *params) {
	for i := 0; i < p.n; i++ {
		i += t.sgrOne(p, i)
	}
	t.restyle()
}

// sgrMax is above all numbers of attributes that are one flag.
const sgrMax = 56

// sgrFlags are the attributes that are one flag: SGR number, flag in fg, in bg.
var sgrFlags = [sgrMax]struct{ fg, bg uint32 }{
	1: {fg: bold}, 2: {bg: dim}, 3: {bg: italic}, 5: {fg: blink}, 7: {fg: inverse}, 8: {fg: invisible}, 9: {fg: strike}, 53: {bg: overline},
}

// sgrEnds take them away again.
var sgrEnds = [sgrMax]struct{ fg, bg uint32 }{
	22: {fg: bold, bg: dim}, 23: {bg: italic}, 25: {fg: blink}, 27: {fg: inverse}, 28: {fg: invisible}, 29: {fg: strike}, 55: {bg: overline},
}

// sgrOne acts on number i and says how many more it took.
func (t *Terminal) sgrOne(p *params, i int) int {
	a, v := &t.attr, p.value[i]
	switch {
	case v == 0:
		a.plain()
	case v >= 30 && v <= 37:
		a.fg = a.fg&^(colourMask|paletteMask) | colour16 | uint32(v-30)
	case v >= 40 && v <= 47:
		a.bg = a.bg&^(colourMask|paletteMask) | colour16 | uint32(v-40)
	case v >= 90 && v <= 97:
		a.fg = a.fg&^(colourMask|paletteMask) | colour16 | uint32(v-90) | 8
	case v >= 100 && v <= 107:
		a.bg = a.bg&^(colourMask|paletteMask) | colour16 | uint32(v-100) | 8
	case v == 38 || v == 48 || v == 58:
		return a.colour(p, i)
	case v == 39:
		a.fg &^= colourMask | rgbMask
	case v == 49:
		a.bg &^= colourMask | rgbMask
	case v == 59:
		a.ext |= colourMask | rgbMask // as xterm.js has it: white
		a.update()
	case v == 4:
		kind := int32(underlineSingle)
		if s := p.subs(i); len(s) > 0 {
			kind = s[0]
		}
		a.setUnderline(uint32(kind))
	case v == 21:
		a.setUnderline(underlineDouble)
	case v == 24:
		a.setUnderline(underlineNone)
	case v < sgrMax:
		on, off := sgrFlags[v], sgrEnds[v]
		a.fg = a.fg&^off.fg | on.fg
		a.bg = a.bg&^off.bg | on.bg
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
	got := [6]int32{2: -1} // which, kind, colour space, three values
	shift, taken := 0, 0
	if p.nsub == 0 { // as nearly all have it: 38;5;n and 38;2;r;g;b
		switch kind := p.get(at + 1); {
		case kind == 5 && at+2 < p.n:
			got[1], got[3], taken = 5, p.value[at+2], 2
		case kind == 2 && at+4 < p.n:
			got[1], got[3], got[4], got[5], taken = 2, p.value[at+2], p.value[at+3], p.value[at+4], 4
		}
		got[0] = p.value[at]
	}
	for quick := taken > 0; !quick; {
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
	switch got[0] {
	case 38:
		s.fg = mix(s.fg, got)
	case 48:
		s.bg = mix(s.bg, got)
	case 58:
		s.ext = s.ext&^(colourMask|rgbMask) | mix(s.ext&(colourMask|rgbMask), got)&(colourMask|rgbMask)
	}
	return taken
}

func mix(old uint32, got [6]int32) uint32 {
	switch got[1] {
	case 2:
		return (old|colourRGB)&^rgbMask | uint32(got[3]&255)<<16 | uint32(got[4]&255)<<8 | uint32(got[5]&255)
	case 5:
		return old&^(colourMask|paletteMask) | colour256 | uint32(got[3]&255)
	}
	return old
}
