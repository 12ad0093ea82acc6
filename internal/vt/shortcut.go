package vt

import (
	"math"
	"slices"
)

// usual draws what programs write most, and returns where something else begins:
// text of ASCII, carriage returns, line feeds, and what shortcut knows. The parser
// must be in its ground state; step does the same, in three times the time.
func (t *Terminal) usual(in []byte, i int) int {
	for i < len(in) {
		if isPrintable(in[i]) {
			i = t.printASCII(in, i)
			continue
		}
		next := i
		switch in[i] {
		case 0x1B:
			next = t.shortcut(in, i)
		case 0x0D:
			t.endRun()
			t.parser.joint, t.b.x = 0, 0
			next++
		case 0x0A:
			t.endRun()
			t.parser.joint = 0
			t.lineFeed()
			next++
		}
		if next == i {
			break
		}
		i = next
	}
	return i
}

// shortcut acts on a control sequence of digits and semicolons that moves, erases or
// colours, if it is whole in in. It returns its end, or start when it is another.
func (t *Terminal) shortcut(in []byte, start int) int {
	if start+2 >= len(in) || in[start+1] != '[' {
		return start
	}
	p := &t.parser.params
	i := start + 2
	ask := in[i] == '?'
	if ask {
		i++
	}
	p.nsub = 0
	n, v := 0, int32(0)
	for at, c := range in[i:] {
		if d := c - '0'; d <= 9 {
			if v = v*10 + int32(d); v > math.MaxInt16 {
				return start
			}
			continue
		}
		if uint(n) >= maxParams {
			return start
		}
		p.value[n] = v
		n, v = n+1, 0
		if c == ';' {
			continue
		}
		p.n = n
		if ask {
			if c != 'h' && c != 'l' || slices.Contains(p.value[:n], reportSize) {
				return start
			}
			t.endRun()
			t.setPrivateModes(p, c == 'h')
		} else if !t.common(c) {
			return start
		}
		t.parser.joint = 0
		return i + at + 1
	}
	return start
}

// common acts on a control sequence, unless it is a rare one.
func (t *Terminal) common(final byte) bool {
	p := &t.parser.params
	switch final {
	case 'm':
		t.endRun()
		t.sgr(p)
	case 'A', 'B', 'C', 'D', 'G', 'H', 'd', 'f':
		t.endRun()
		t.csiMove(uint32(final), p)
	case 'J', 'K', 'L', 'M', 'P', 'X', '@':
		t.endRun()
		t.csiEdit(uint32(final), p)
	default:
		return false
	}
	return true
}
