package vt

import (
	"slices"
	"testing"
)

// Styles that are much alike have places of their own: else each of a gradient would
// be looked for behind all others.
func TestStylesAreSpread(t *testing.T) {
	for name, of := range map[string]func(i uint32) style{
		"red":   func(i uint32) style { return style{fg: colourRGB | i%256<<16, bg: i / 256} },
		"flags": func(i uint32) style { return style{fg: i%64<<26 | i/64, bg: i / 512 << 26} },
		"bg":    func(i uint32) style { return style{bg: colourRGB | i*8} },
		"links": func(i uint32) style { return style{bg: extended, link: i} },
		"ext":   func(i uint32) style { return style{bg: extended, ext: i << 14} },
	} {
		s := newStyles()
		const n = 4000
		for i := range uint32(n) {
			s.number(of(i + 1))
		}
		steps := 0
		for _, st := range s.all[1:] {
			home := int(st.hash() >> s.shift)
			at := slices.Index(s.slots, s.number(st))
			steps += 1 + (at-home+len(s.slots))%len(s.slots)
		}
		if per := float64(steps) / float64(len(s.all)-1); per > 4 || len(s.all) < n/2 {
			t.Errorf("%s: %.1f places are looked at, of %d styles", name, per, len(s.all))
		}
	}
}
