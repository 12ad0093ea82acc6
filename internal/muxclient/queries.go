package muxclient

// Queries takes out of a terminal's output what would make a terminal that
// draws it answer: device attributes, status and mode reports, colour and
// termcap requests (ECMA-48; XTerm Control Sequences; what kitty, WezTerm, iTerm2
// and foot have of their own). The guest has answered them and sends none; an
// answer to one that came all the same would be typed into the shell. Sequences
// may be cut anywhere between calls. The zero value is ready to use; it is for one
// goroutine.
//
// Terminals disagree about where a broken sequence ends, so that text after it might
// be a query to some of them. What is passed on has therefore one reading: sequences
// that are given up are left out, controls within one come before it, and a string
// that another sequence breaks off is ended.
type Queries struct {
	state int
	kind  byte   // of a string: what follows the ESC that begins it
	held  []byte // the sequence so far, without the end of a string
	long  int    // what is done with a string longer than maxHeld
	lead  bool   // 0xC2 came: with the next byte it is a C1 control or a character
}

const (
	qGround = iota
	qEscape
	qCSI
	qString
	qStringEscape // an ESC came in it, which is its end or breaks it off
)

const (
	qHolding = iota
	qPassing // it can be no query: passed on as it comes
	qSwallowing
)

// maxHeld bounds what is held of a sequence. Only strings that set something are
// longer, such as images; of a query's kind, but longer, one is left out.
const maxHeld = 16 << 10

const (
	cENQ = 0x05
	cBEL = 0x07
	cCAN = 0x18
	cSUB = 0x1a
	cESC = 0x1b
	cDEL = 0x7f
	// c1Lead begins a C1 control in UTF-8.
	c1Lead = 0xc2
)

const stringEnd = "\x1b\\"

// Strip appends p without queries to dst and returns it. An unfinished sequence
// is held back for the next call.
func (q *Queries) Strip(dst, p []byte) []byte {
	for _, c := range p {
		switch {
		case c == cENQ: // asks who is there, in whatever it stands
		case q.lead && c >= 0x80 && c < 0xa0:
			q.lead = false
			dst = q.control(dst, c)
		default:
			if q.lead {
				q.lead = false
				if c >= 0x80 && c < 0xc0 {
					dst = q.step(dst, c1Lead)
				} else { // half a character: as a terminal shows it, lest what follows completes it
					for _, b := range []byte("\ufffd") {
						dst = q.step(dst, b)
					}
				}
			}
			if c == c1Lead {
				q.lead = true
			} else {
				dst = q.step(dst, c)
			}
		}
	}
	return dst
}

// step takes one byte that begins no C1 control.
func (q *Queries) step(dst []byte, c byte) []byte {
	if q.state == qStringEscape && c != '\\' {
		dst = q.breakOff(dst)
	}
	switch {
	case c == cESC && q.state == qString:
		q.state = qStringEscape
		return dst
	case c == cESC:
		q.begin(qEscape, 0, c)
		return dst
	case c == cCAN || c == cSUB:
		return q.cancel(dst, c)
	}
	switch q.state {
	case qGround:
		return append(dst, c)
	case qString:
		if c == cBEL {
			if q.kind == ']' {
				return q.end(dst, "\a")
			}
			return dst // an end to some terminals alone
		}
		return q.hold(dst, c)
	case qStringEscape:
		return q.end(dst, stringEnd)
	}
	switch {
	case c < 0x20: // done at once, in the middle of a sequence too
		return append(dst, c)
	case c == cDEL: // nothing to any terminal
		return dst
	case c > cDEL: // in no sequence
		q.reset()
		return append(dst, c)
	}
	if q.state == qCSI {
		return q.csi(dst, c)
	}
	return q.escape(dst, c)
}

// escape takes a byte after an ESC.
func (q *Queries) escape(dst []byte, c byte) []byte {
	first := len(q.held) == 1 && q.long == qHolding
	switch {
	case first && c == '[':
		q.begin(qCSI, c, cESC, c)
	case first && (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_'):
		q.begin(qString, c, cESC, c)
	case c < 0x30:
		return q.hold(dst, c)
	default:
		if q.long == qHolding && !(first && c == 'Z') { // DECID
			dst = append(append(dst, q.held...), c)
		}
		q.reset()
	}
	return dst
}

// csi takes a byte of a control sequence.
func (q *Queries) csi(dst []byte, c byte) []byte {
	if c < 0x40 {
		return q.hold(dst, c)
	}
	if q.long == qHolding && !csiAsks(string(q.held[2:]), c) {
		dst = append(append(dst, q.held...), c)
	}
	q.reset()
	return dst
}

// control takes a C1 control that came in UTF-8; some terminals obey it so.
func (q *Queries) control(dst []byte, c byte) []byte {
	if q.state == qStringEscape {
		dst = q.breakOff(dst)
	}
	inString := q.state == qString
	switch as := c - 0x40; as {
	case '\\': // written so that every terminal sees the end
		if inString {
			return q.end(dst, stringEnd)
		}
		q.reset()
	case '[', ']', 'P', 'X', '^', '_':
		if inString {
			dst = q.end(dst, stringEnd)
		}
		q.begin(qString, as, c1Lead, c)
		if as == '[' {
			q.state = qCSI
		}
	default:
		if inString {
			return dst // breaks it off in some terminals alone
		}
		q.reset()
		if as != 'Z' {
			dst = append(dst, c1Lead, c)
		}
	}
	return dst
}

func (q *Queries) begin(state int, kind byte, with ...byte) {
	q.state, q.kind, q.long, q.held = state, kind, qHolding, append(q.held[:0], with...)
}

func (q *Queries) reset() { q.begin(qGround, 0) }

// hold keeps a byte of a sequence, or does with it what is done with a long one.
func (q *Queries) hold(dst []byte, c byte) []byte {
	if q.long == qHolding && len(q.held) == maxHeld {
		q.long = qSwallowing
		if q.state == qString && !mayAsk(q.kind, text(q.held[2:])) {
			q.long = qPassing
			dst = append(dst, q.held...)
		}
		q.held = q.held[:0]
	}
	switch q.long {
	case qHolding:
		q.held = append(q.held, c)
	case qPassing:
		dst = append(dst, c)
	}
	return dst
}

// end is the end of a string.
func (q *Queries) end(dst []byte, with string) []byte {
	if q.long == qHolding && !asks(q.kind, text(q.held[2:])) {
		dst = append(append(dst, q.held...), with...)
	} else if q.long == qPassing {
		dst = append(dst, with...)
	}
	q.reset()
	return dst
}

// breakOff is an ESC in a string that does not end it as it should: most terminals
// take the string for whole, and a sequence has begun.
func (q *Queries) breakOff(dst []byte) []byte {
	dst = q.end(dst, stringEnd)
	q.begin(qEscape, 0, cESC)
	return dst
}

// cancel is CAN or SUB: no sequence goes on.
func (q *Queries) cancel(dst []byte, c byte) []byte {
	switch {
	case q.state == qGround:
		dst = append(dst, c)
	case q.long == qPassing:
		dst = append(dst, stringEnd...)
	}
	q.reset()
	return dst
}
