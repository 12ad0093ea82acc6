package vt

import "strings"

const (
	strNone = iota
	strID   // the number before the first semicolon is being read
	strText
	strBad
)

const (
	identDECRQSS   = '$'<<8 | 'q'
	identKitty     = '@' // kitty's remote control
	identXTGETTCAP = '+'<<8 | 'q'
	identXTGETXRES = '+'<<8 | 'Q'
)

// str is the string of an OSC or DCS.
type str struct {
	state byte
	id    int
	final byte // of a DCS
	text  []byte
	over  bool // it was too long
}

func (s *str) abort() { s.state, s.over = strNone, false }

func (s *str) start(state byte) {
	s.state, s.id, s.text, s.over = state, -1, s.text[:0], false
}

func (s *str) put(code rune) {
	switch s.state {
	case strID:
		switch {
		case code == ';':
			s.state = strText
		case code < '0' || code > '9' || s.id > 1<<20:
			s.state = strBad
		default:
			s.id = max(s.id, 0)*10 + int(code-'0')
		}
	case strText:
		if len(s.text) > maxPayload {
			s.over = true
			return
		}
		s.text = appendRune(s.text, code)
	}
}

// asks says whether the string, as far as it came, can be that of a query.
func (s *str) asks() bool {
	switch s.state {
	case strID:
		return true
	case strText:
		return mayAsk(s.id, string(s.text[:min(len(s.text), maxText)]))
	}
	return false
}

// stringStep is a step of an OSC or DCS.
func (t *Terminal) stringStep(do byte, code rune, next byte) byte {
	p := &t.parser
	switch do {
	case doOSCStart:
		p.str.start(strID)
	case doHook:
		p.str.start(strText)
		p.str.final = byte(code)
	case doOSCPut, doPut:
		p.str.put(code)
	case doOSCEnd, doUnhook:
		switch {
		case p.str.over: // nothing looked at its end
			p.query = p.query || p.mayAsk()
		case code != 0x18 && code != 0x1A && !p.overlong:
			t.stringEnd(do)
		}
		p.str.abort()
		p.clear()
		p.joint = 0
		if code == 0x1B {
			next |= escape
		}
	}
	return next
}

func (t *Terminal) stringEnd(do byte) {
	p := &t.parser
	text := strings.ToValidUTF8(string(p.str.text), "")
	if do == doUnhook {
		switch p.collect<<8 | uint32(p.str.final) {
		case identDECRQSS:
			p.query = true
			t.statusString(text)
		case identXTGETTCAP, identXTGETXRES, identKitty:
			p.query = true
		}
		return
	}
	if p.str.state == strID || p.str.state == strText {
		t.osc(p.str.id, text)
	}
}
