package terminal

import (
	"bytes"

	"staithe/internal/replay"
)

// fullReset is RIS: whatever a client drew before is gone.
const fullReset = "\x1bc"

// redraw makes what a client without history needs: a full reset and the log's
// tail, from a safe place to the last parser boundary, and the offset at which
// the stream goes on. An unfinished sequence or character is left to the
// stream. It stands where an emulator's snapshot will: scrollback, in lines, is
// for that one; the tail is given whole, since modes set early matter.
func redraw(log *replay.Log, _ int) (snapshot []byte, offset int64) {
	tail, start := log.Tail(log.Limit())
	if start > 0 {
		// The beginning is gone: begin after a line's end, where no character
		// and hardly ever a sequence is cut.
		cut := bytes.IndexByte(tail, '\n') + 1
		tail = tail[cut:]
		start += int64(cut)
	}
	n := boundary(tail)
	return append([]byte(fullReset), tail[:n]...), start + int64(n)
}

// boundary returns the length of the longest prefix of b that ends outside of
// any escape sequence (ECMA-48, DEC STD 070) and any UTF-8 character.
func boundary(b []byte) int {
	const (
		ground = iota
		escape // after ESC, and its intermediates
		csi
		str       // OSC, DCS, SOS, PM, APC: up to ST, BEL ends OSC
		strEscape // ESC inside a string
	)
	state, last, more := ground, 0, 0
	osc := false
	for i, c := range b {
		switch state {
		case ground:
			switch {
			case c == 0x1b:
				state, more = escape, 0
			case c >= 0xc2 && c <= 0xdf:
				more = 1
			case c >= 0xe0 && c <= 0xef:
				more = 2
			case c >= 0xf0 && c <= 0xf4:
				more = 3
			case c >= 0x80 && c <= 0xbf && more > 0:
				more--
			default:
				more = 0
			}
		case escape:
			state = afterEscape(c)
			osc = c == ']'
		case csi:
			if c == 0x1b {
				state = escape
			} else if c >= 0x40 && c <= 0x7e || c == 0x18 || c == 0x1a {
				state = ground
			}
		case str:
			if c == 0x1b {
				state = strEscape
			} else if c == 0x18 || c == 0x1a || c == 0x07 && osc {
				state = ground
			}
		case strEscape:
			if c == '\\' {
				state = ground
			} else {
				state = afterEscape(c)
				osc = c == ']'
			}
		}
		if state == ground && more == 0 {
			last = i + 1
		}
	}
	return last
}

// afterEscape is the state (see boundary) after ESC and c.
func afterEscape(c byte) int {
	const ground, escape, csi, str = 0, 1, 2, 3
	switch {
	case c == '[':
		return csi
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		return str
	case c == 0x1b || c >= 0x20 && c <= 0x2f: // again, or intermediates
		return escape
	case c < 0x20 && c != 0x18 && c != 0x1a:
		return escape // a control inside a sequence is executed, the sequence goes on
	}
	return ground
}
