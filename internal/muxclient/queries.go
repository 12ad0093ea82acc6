package muxclient

// Queries takes out of a terminal's output what would make a terminal that
// draws it answer: device attributes, status and mode reports, colour and
// termcap requests (ECMA-48; XTerm Control Sequences). The guest has answered them
// and sends none; an answer to one that came all the same would be typed into the
// shell. Sequences may be cut anywhere
// between calls. The zero value is ready to use; it is for one goroutine.
type Queries struct {
	state   int
	held    []byte // the sequence so far
	discard bool   // the string is too long to be a query: passed on as it comes
}

const (
	qGround = iota
	qEscape
	qCSI
	qString
	qStringEscape
)

// maxHeld bounds a held sequence; no query is near as long.
const maxHeld = 1024

// Strip appends p without queries to dst and returns it. An unfinished sequence
// is held back for the next call.
func (q *Queries) Strip(dst, p []byte) []byte {
	for _, c := range p {
		if q.state == qGround {
			if c != 0x1b {
				dst = append(dst, c)
				continue
			}
			q.state, q.held = qEscape, append(q.held[:0], c)
			continue
		}
		q.held = append(q.held, c)
		done := q.next(c)
		switch {
		case done && !q.isQuery(), len(q.held) >= maxHeld:
			dst = append(dst, q.held...)
			q.held = q.held[:0]
			q.discard = !done
		case done:
			q.held = q.held[:0]
		}
		if done {
			q.state, q.discard = qGround, false
		}
	}
	return dst
}

// next moves the state by one byte and reports whether the sequence is whole.
func (q *Queries) next(c byte) (done bool) {
	if c == 0x18 || c == 0x1a { // CAN and SUB end any sequence
		return true
	}
	switch q.state {
	case qEscape:
		switch {
		case c == '[':
			q.state = qCSI
		case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
			q.state = qString
		case c >= 0x30 && c <= 0x7e:
			return true
		}
	case qCSI:
		return c >= 0x40 && c <= 0x7e
	case qString:
		if c == 0x1b {
			q.state = qStringEscape
		}
		return c == 0x07 && len(q.held) > 1 && (q.held[1] == ']' || q.discard)
	case qStringEscape:
		if c == '\\' {
			return true
		}
		q.state = qString
	}
	return false
}

// isQuery looks at the whole sequence held.
func (q *Queries) isQuery() bool {
	h := q.held
	if q.discard || len(h) < 3 {
		return len(h) == 2 && h[1] == 'Z' // DECID
	}
	last := h[len(h)-1]
	switch h[1] {
	case '[':
		switch body := string(h[2 : len(h)-1]); last {
		case 'c': // DA1, DA2, DA3
			return true
		case 'n': // DSR, CPR and their DEC forms
			return true
		case 'p': // DECRQM: CSI … $ p
			return len(body) > 0 && body[len(body)-1] == '$'
		case 'q': // XTVERSION: CSI > … q
			return len(body) > 0 && body[0] == '>'
		case 'u': // kitty keyboard: CSI ? u
			return body == "?"
		case 'x': // DECREQTPARM
			return true
		case 't': // window reports: 11, 13–16, 18–21
			return len(body) >= 2 && (body[0] == '1' && body[1] != '0' || body[0] == '2' && (body[1] == '0' || body[1] == '1'))
		}
	case 'P': // DECRQSS, XTGETTCAP
		return h[2] == '$' && len(h) > 3 && h[3] == 'q' || h[2] == '+' && len(h) > 3 && h[3] == 'q'
	case ']': // OSC n ; … ? : a colour, or the clipboard, is asked for
		for i := len(h) - 1; i > 2; i-- {
			switch h[i] {
			case 0x07, '\\', 0x1b:
				continue
			}
			return h[i] == '?'
		}
	}
	return false
}
