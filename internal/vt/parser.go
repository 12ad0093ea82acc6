package vt

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// heldMax bounds what is kept back of a sequence that may be a query. A longer
// one is neither acted on nor passed on.
const heldMax = maxPayload

// passAfter is how much of a sequence that can be no query is kept back.
const passAfter = 4096

// parser is the state between two bytes.
type parser struct {
	state   byte
	params  params
	collect uint32 // prefix and intermediates
	joint   joint
	before  joint  // when the sequence began
	end     string // what ends another one as its beginning did; empty: it ended none
	run     bool   // characters are being printed, one after the other

	utf  [utf8.UTFMax]byte // an unfinished character
	nutf int

	str     str
	query   bool   // the sequence that just ended was a query
	quietST bool   // the ESC \ that may follow belongs to a query
	instead []byte // what stands in its place

	repeats int  // characters that REP may still print in this call
	enquiry bool // ENQ came in the middle of it

	held     []byte // of an unfinished sequence, not passed on yet
	passed   int    // bytes of it that were passed on already
	at       int    // Position
	overlong bool   // it is longer than heldMax: swallowed
}

func (p *parser) reset() {
	p.state, p.collect, p.joint = ground, 0, 0
	p.params.reset()
	p.str.abort()
}

// pending says whether a sequence or character is unfinished.
func (p *parser) pending() bool { return p.state != ground || p.nutf > 0 }

// Pending says whether what was written last ends within a sequence or character.
func (t *Terminal) Pending() bool { return t.parser.pending() }

// Position is where the OSC that a function of Options is called for begins, counted
// in what Filter returns for the bytes it was given; less than 0 when it began before
// them. It may be called from Cwd, Title, Notify and Command alone.
func (t *Terminal) Position() int { return t.parser.at }

// Rest appends what Filter kept back, when nothing comes any more: but for what may be
// the beginning of a query, which some later output could end.
func (t *Terminal) Rest(dst []byte) []byte {
	p := &t.parser
	if p.state != ground && p.mayAsk() {
		p.held = p.held[:0]
	}
	if p.passed > 0 {
		p.passed += len(p.held)
	}
	return p.release(dst, true)
}

// Unfinished is how many bytes at the end of what Filter returned belong to a
// sequence that has not ended. A snapshot is of the moment before them.
func (t *Terminal) Unfinished() int { return t.parser.passed }

// Rejoin is what makes a terminal pass over the rest of the unfinished sequence, for
// one that has a snapshot but not the sequence's beginning.
func (t *Terminal) Rejoin() string {
	switch p := &t.parser; {
	case p.passed == 0:
		return ""
	case p.state == oscString:
		return "\x1b]999999;"
	case p.state == dcsPassthrough || p.state == dcsIgnore:
		return "\x1bP~"
	}
	return "\x1b^"
}

// feed draws in. With keep it appends to out what is no query.
//
// start is where in in the present sequence begins, -1 when that was in an earlier
// call; in before mark was dealt with.
func (t *Terminal) feed(in, out []byte, keep bool) []byte {
	p := &t.parser
	start, mark, was := -1, 0, len(out)
	p.repeats = maxRepeats
	for i := 0; i < len(in); {
		if p.state == ground && p.nutf == 0 {
			if i = t.usual(in, i); i == len(in) {
				break
			}
			start, p.before, p.end = i, p.joint, ""
		}
		if p.state == csiParam || p.state == csiEntry {
			if j := p.numbers(in, i); j > i {
				i, p.state = j, csiParam
				continue
			}
		}
		code, n, ok := p.decode(in[i:])
		i += n
		if !ok {
			if p.pending() {
				continue
			}
			p.passed = 0 // a broken character: it goes out, and nobody shows it
			out = p.release(out, keep)
			continue
		}
		if p.state == oscString {
			p.at = -p.passed
			if start >= 0 {
				p.at = len(out) - was + start - min(mark, start)
			}
		}
		aborted := p.aborts(code)
		if begins(code) && p.state != ground { // what came before is over, whatever it was
			t.step(code)
			p.query = p.query || aborted
			quiet := p.query || p.overlong
			came := p.setAside(utf8.RuneLen(code) - n)
			out, mark = p.settle(out, in, start, mark, i-n, keep)
			p.held = append(p.held, came...)
			start, p.before, p.quietST, p.end = i-n, 0, quiet, endOf(code, quiet)
			continue
		}
		t.step(code)
		if !p.pending() {
			if aborted {
				p.query = true
				p.instead = appendControl(p.instead, code)
			}
			out, mark = p.settle(out, in, start, mark, i, keep)
			start = -1
		}
	}
	t.endRun()
	if !p.pending() {
		if keep {
			out = append(out, in[mark:]...)
		}
		return out
	}
	if start < 0 {
		start = 0
	} else if keep {
		out = append(out, in[mark:start]...)
	}
	return p.hold(out, in[max(start, mark):], keep)
}

// begins says whether a sequence begins here, in the middle of another too.
func begins(code rune) bool {
	switch code {
	case 0x1B, 0x90, 0x98, 0x9B, 0x9D, 0x9E, 0x9F:
		return true
	}
	return false
}

// aborts says whether a sequence that ends here is a query to some terminal, though
// not to xterm.js: they differ in whether C1 controls abort a string.
func (p *parser) aborts(code rune) bool {
	c1 := code >= 0x80 && code < above && code != 0x9C
	return p.state == graphicsString || c1 && (p.state == oscString || p.state == dcsPassthrough) && p.mayAsk()
}

// appendControl adds what is executed though the sequence that it stands in is not.
func appendControl(dst []byte, code rune) []byte {
	if code >= 0x80 && code < 0x9A {
		return utf8.AppendRune(dst, code)
	}
	return dst
}

// setAside takes what is the beginning of a character from what is kept back.
func (p *parser) setAside(n int) []byte {
	n = min(n, len(p.held))
	came := slices.Clone(p.held[len(p.held)-n:])
	p.held = p.held[:len(p.held)-n]
	return came
}

// numbers takes the parameters at i, and returns where they end.
func (p *parser) numbers(in []byte, i int) int {
	if p.nutf > 0 {
		return i
	}
	for ; i < len(in); i++ {
		switch c := in[i]; {
		case c-'0' <= 9:
			p.params.digit(int32(c - '0'))
		case c == ';':
			p.params.next()
		default:
			return i
		}
	}
	return i
}

// nothing stands for a query after a character: an ESC \ that ends no string.
// What comes next must not join the character, nor REP repeat it.
const nothing = "\x1b\\"

// endOf ends what the beginning of a query had ended: with ESC a string is acted on,
// with a C1 control it is not. quiet: that was not passed on.
func endOf(code rune, quiet bool) string {
	switch {
	case quiet:
		return ""
	case code == 0x1B:
		return nothing
	}
	return "\x18"
}

// settle is what happens when a sequence has ended before in[end].
func (p *parser) settle(out, in []byte, start, mark, end int, keep bool) ([]byte, int) {
	drop, enquiry := p.query || p.overlong, p.enquiry
	instead := p.instead
	p.query, p.quietST, p.overlong, p.enquiry, p.instead, p.passed = false, false, false, false, p.instead[:0], 0
	if !drop && (!enquiry || !keep) {
		return p.release(out, keep), mark
	}
	if !drop {
		if start > mark {
			out = append(out, in[mark:start]...)
		}
		out = p.release(out, keep)
		return append(out, bytes.ReplaceAll(in[max(start, mark):end], []byte{0x05}, nil)...), end
	}
	p.held = p.held[:0]
	if !keep {
		return out, end
	}
	if start > mark {
		out = append(out, in[mark:start]...)
	}
	if p.end == "" && len(instead) == 0 && p.before != 0 {
		out = append(out, nothing...)
	}
	out = append(out, p.end...)
	return append(out, instead...), end
}

// release passes on what was kept back.
func (p *parser) release(out []byte, keep bool) []byte {
	if len(p.held) > 0 {
		if keep {
			out = append(out, p.held...)
		}
		p.held = p.held[:0]
	}
	return out
}

// hold keeps the beginning of a sequence back, or passes it on when it is long and
// no query.
func (p *parser) hold(out, part []byte, keep bool) []byte {
	if !keep {
		p.instead = p.instead[:0]
		return out
	}
	if p.state >= escape && p.state <= csiIgnore { // controls in it were executed: they do not wait
		if len(p.instead) > 0 {
			out = append(append(out, p.end...), p.instead...)
			p.before, p.end = 0, ""
		}
		part = withoutControls(part)
	}
	p.instead = p.instead[:0]
	size := len(p.held) + len(part)
	if p.passed == 0 && !p.overlong && (size <= passAfter || p.mayAsk() && size <= heldMax) {
		p.held = append(p.held, part...)
		return out
	}
	p.overlong = p.overlong || p.passed == 0 && p.mayAsk()
	was := len(out)
	out = append(p.release(out, keep), part...)
	// A character that is not whole may end this sequence and begin another.
	whole := len(out) - min(p.nutf, size)
	p.held = append(p.held, out[whole:]...)
	if p.overlong {
		return out[:was]
	}
	p.passed += whole - was
	return out[:whole]
}

func withoutControls(part []byte) []byte {
	var out []byte
	for _, c := range part {
		if c >= 0x20 || c == 0x18 || c == 0x1A || c == 0x1B {
			out = append(out, c)
		}
	}
	return out
}

// mayAsk says whether the unfinished sequence can become a query.
func (p *parser) mayAsk() bool {
	switch p.state {
	case oscString:
		return p.str.asks()
	case dcsPassthrough:
		switch p.collect<<8 | uint32(p.str.final) {
		case identDECRQSS, identXTGETTCAP, identXTGETXRES, identKitty:
			return true
		}
		return false
	case dcsIgnore, ignoredString:
		return false
	}
	return true
}

// decode takes one code point from in. ok is false where there is none: bytes that
// are no UTF-8 are dropped as xterm.js drops them, and a character at the end of
// in that is not whole is remembered.
func (p *parser) decode(in []byte) (code rune, n int, ok bool) {
	if p.nutf == 0 {
		if in[0] < utf8.RuneSelf {
			return rune(in[0]), 1, true
		}
		if r, size := utf8.DecodeRune(in); r != utf8.RuneError || size > 1 {
			return r, size, r != 0xFEFF
		}
	}
	for n < len(in) {
		c := in[n]
		if p.nutf > 0 && c&0xC0 != 0x80 { // broken off; c is looked at again
			p.nutf = 0
			return 0, n, false
		}
		n++
		if p.nutf == 0 && (c < 0xC0 || c >= 0xF8) {
			return 0, n, false
		}
		p.utf[p.nutf] = c
		p.nutf++
		if p.nutf == sequenceLength(p.utf[0]) {
			r, size := utf8.DecodeRune(p.utf[:p.nutf])
			whole := size == p.nutf && r != 0xFEFF
			p.nutf = 0
			return r, n, whole
		}
	}
	return 0, n, false
}

func sequenceLength(lead byte) int {
	switch {
	case lead < 0xE0:
		return 2
	case lead < 0xF0:
		return 3
	}
	return 4
}

// step acts on one code point.
func (t *Terminal) step(code rune) {
	p := &t.parser
	what := table[p.state][min(code, above)]
	do := what >> 4
	if do == doPrint {
		t.printRune(code)
		return
	}
	t.endRun()
	next := what & 15
	switch do {
	case doExecute:
		switch {
		case code == 0x05: // ENQ, which some terminals answer
			p.query, p.enquiry = p.state == ground, true
		case code == 0x9A && p.state <= csiIgnore: // DECID; what it ends was not passed on
			p.query = true
		case p.state != ground && next != ground:
			p.instead = append(p.instead, byte(code)) // lest it is lost with a query
		}
		t.execute(code)
		p.joint = 0
	case doParam:
		switch code {
		case ';':
			p.params.next()
		case ':':
			p.params.nextSub()
		default:
			p.params.digit(int32(code - '0'))
		}
	case doCollect:
		p.collect = p.collect<<8 | uint32(code)
	case doClear:
		p.clear()
	case doCSI, doEscape:
		next = t.dispatch(do, code, next)
	default:
		next = t.stringStep(do, code, next)
	}
	p.state = next
}

func (p *parser) clear() {
	p.params.reset()
	p.collect = 0
}

// dispatch is the end of a control or escape sequence.
func (t *Terminal) dispatch(do byte, code rune, next byte) byte {
	p := &t.parser
	if !p.overlong {
		ident := p.collect<<8 | uint32(code)
		if do == doCSI {
			t.csi(ident)
		} else {
			t.escape(ident)
		}
	}
	p.joint = 0
	return next
}
