package terminal

import (
	"bytes"
	"unicode/utf8"
)

// redrawable makes of a terminal's output what may be drawn again, by any
// terminal and before any program: text and its colours, line by line, at most
// limit bytes of the newest. What full-screen programs drew is left out, as is
// all that asks, answers, switches modes, sets titles or clipboards, or draws
// images. It begins at a line, or, of a line longer than limit, at a character,
// and ends with plain attributes. cut says that there was more before out.
func redrawable(out []byte, cut bool, limit int) []byte {
	s := scanner{cut: cut}
	s.scan(out)
	b := s.dst
	if len(b) > limit {
		b = newest(b, limit)
	}
	if len(b) == 0 {
		return nil
	}
	// Character sets, links and colours end here.
	return append(bytes.Clone(b), "\x0f\x1b(B\x1b[0m"...)
}

// newest is the end of what a scanner kept, at most limit bytes of it.
func newest(b []byte, limit int) []byte {
	cut := len(b) - limit
	if line := bytes.IndexByte(b[cut:], '\n'); line >= 0 {
		return b[cut+line+1:]
	}
	// One line: neither a sequence nor a character is cut in two.
	from := max(0, cut-maxSequence-1)
	if esc := bytes.LastIndexByte(b[from:cut], 0x1b); esc >= 0 {
		var s scanner
		for i := from + esc; i < len(b); i++ {
			if s.take(b[i]); s.state == sbGround {
				cut = max(cut, i+1)
				break
			}
		}
	}
	for cut < len(b) && !utf8.RuneStart(b[cut]) {
		cut++
	}
	return b[cut:]
}

const (
	sbGround = iota
	sbEscape
	sbCSI
	sbString
	sbStringEscape
)

// maxSequence bounds a sequence that is kept; longer ones are dropped.
const maxSequence = 256

// scanner is a parser of output (ECMA-48, DEC STD 070) that keeps some of it.
type scanner struct {
	cut       bool
	dst       []byte
	state     int
	seq       []byte // the sequence so far
	char      []byte // the UTF-8 character so far
	osc       bool
	alternate bool
}

func (s *scanner) scan(p []byte) {
	for _, c := range p {
		s.take(c)
	}
}

func (s *scanner) take(c byte) {
	switch s.state {
	case sbGround:
		s.text(c)
	case sbEscape:
		s.hold(c)
		s.escape(c)
	case sbCSI:
		s.hold(c)
		switch {
		case c == 0x1b:
			s.begin()
		case c == 0x18 || c == 0x1a:
			s.state = sbGround
		case c >= 0x40 && c <= 0x7e:
			s.state = sbGround
			s.csi(c)
		}
	case sbString:
		switch {
		case c == 0x1b:
			s.state = sbStringEscape
		case c == 0x18 || c == 0x1a || c == 0x07 && s.osc:
			s.state = sbGround
		}
	case sbStringEscape:
		if c == '\\' {
			s.state = sbGround
			return
		}
		s.begin()
		s.hold(c)
		s.escape(c)
	}
}

func (s *scanner) begin() { s.state, s.seq = sbEscape, append(s.seq[:0], 0x1b) }

func (s *scanner) hold(c byte) {
	if len(s.seq) <= maxSequence {
		s.seq = append(s.seq, c)
	}
}

func (s *scanner) put(p []byte) {
	if !s.alternate {
		s.dst = append(s.dst, p...)
	}
}

// text keeps whole characters, ends of lines, tabs and steps back. U+0080 to
// U+009F are controls to a terminal.
func (s *scanner) text(c byte) {
	if c >= 0x80 {
		s.char = append(s.char, c)
		if r, n := utf8.DecodeRune(s.char); r != utf8.RuneError || n > 1 {
			if r >= 0xa0 {
				s.put(s.char)
			}
			s.char = s.char[:0]
		} else if utf8.FullRune(s.char) {
			s.char = s.char[:0] // no character
		}
		return
	}
	s.char = s.char[:0]
	switch {
	case c == 0x1b:
		s.begin()
	case c >= 0x20 && c != 0x7f, c == '\n', c == '\r', c == '\t', c == '\b':
		s.put([]byte{c})
	}
}

func (s *scanner) escape(c byte) {
	switch {
	case c == '[':
		s.state = sbCSI
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		s.state, s.osc = sbString, c == ']'
	case c == 0x1b:
		s.begin()
	case c >= 0x20 && c <= 0x2f || c < 0x20 && c != 0x18 && c != 0x1a:
		// goes on
	case c == 'c': // RIS: nothing before it is there any more
		s.state, s.alternate = sbGround, false
		s.dst = s.dst[:0]
	default:
		s.state = sbGround
		if len(s.seq) == 2 && (c == '7' || c == '8' || c == 'D' || c == 'E' || c == 'M') {
			s.put(s.seq)
		}
	}
}

// csi keeps colours, moves and erasures, and follows the alternate screen.
func (s *scanner) csi(final byte) {
	if len(s.seq) > maxSequence {
		return
	}
	body := s.seq[2 : len(s.seq)-1]
	if len(body) > 0 && body[0] == '?' && (final == 'h' || final == 'l') {
		s.mode(body[1:], final == 'h')
		return
	}
	if bytes.IndexByte([]byte("mABCDEFGHIJKLMPSTXZ@adfse`"), final) < 0 {
		return
	}
	for _, c := range body { // private forms and intermediates mean other things
		if (c < '0' || c > '9') && c != ';' && c != ':' {
			return
		}
	}
	s.put(s.seq)
}

// mode follows DECSET and DECRST 47, 1047 and 1049.
func (s *scanner) mode(params []byte, set bool) {
	for p := range bytes.SplitSeq(params, []byte(";")) {
		switch string(p) {
		case "47", "1047", "1049":
			if !set && !s.alternate && s.cut {
				s.dst = s.dst[:0] // what came before is a full-screen program's
			}
			s.cut = false
			s.alternate = set
		}
	}
}
