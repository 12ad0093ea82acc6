package vt

import "fmt"

// setModes is SM and RM.
func (t *Terminal) setModes(p *params, on bool) {
	for _, v := range p.value[:p.n] {
		switch v {
		case 4:
			t.modes.insert = on
		case 20:
			t.newLine = on
		}
	}
}

// setPrivateModes is DECSET and DECRST.
func (t *Terminal) setPrivateModes(p *params, on bool) {
	if others, reports := reportsSize(p); on && reports {
		t.parser.query = true
		if len(others) > 0 {
			t.parser.instead = fmt.Appendf(t.parser.instead, "\x1b[?%sh", others)
		}
	}
	for _, v := range p.value[:p.n] {
		t.setPrivateMode(v, on)
	}
}

func (t *Terminal) setPrivateMode(mode int32, on bool) {
	m := &t.modes
	switch mode {
	case 1:
		m.cursorKeys = on
	case 2:
		if on {
			for g := range t.charsets {
				t.designate(g, nil)
			}
		}
	case 6:
		m.origin = on
		t.moveTo(0, 0)
	case 7:
		m.noWrap = !on
	case 12:
		t.blink = blinkOff
		if on {
			t.blink = blinkOn
		}
	case 25:
		t.hidden = !on
	case 45:
		m.reverseWrap = on
	case 66:
		m.keypad = on
	case 9, 1000, 1002, 1003:
		t.mouse = mouseNone
		if on {
			t.mouse = map[int32]byte{9: mouseX10, 1000: mouseVT200, 1002: mouseDrag, 1003: mouseAny}[mode]
		}
	case 1006, 1016:
		t.encoding = mouseDefault
		if on {
			t.encoding = map[int32]byte{1006: mouseSGR, 1016: mousePixels}[mode]
		}
	case 1004:
		m.focus = on
	case 2004:
		m.paste = on
	case 2026:
		m.sync = on
	case 47, 1047, 1048, 1049:
		t.alternate(mode, on)
	}
}

// alternate switches screens, and saves the cursor before and restores it after,
// as the mode says.
func (t *Terminal) alternate(mode int32, on bool) {
	if on {
		if mode >= 1048 {
			t.saveCursor()
		}
		if mode != 1048 {
			t.showAlternate()
		}
		return
	}
	if mode != 1048 {
		t.showNormal()
	}
	if mode >= 1048 {
		t.restoreCursor()
	}
}

func (t *Terminal) showAlternate() {
	if t.b == t.alt {
		return
	}
	t.alt.fill(t.cols, t.rows, blank(t.eraseID))
	t.alt.x, t.alt.y = t.normal.x, t.normal.y
	t.b = t.alt
}

func (t *Terminal) showNormal() {
	if t.b == t.normal {
		return
	}
	t.normal.x, t.normal.y = t.alt.x, t.alt.y
	t.alt.clear(t.cols, t.rows)
	t.b = t.normal
}

// softReset is DECSTR.
func (t *Terminal) softReset() {
	b := t.b
	t.hidden = false
	b.top, b.bottom = 0, t.rows-1
	t.attr = style{}
	t.restyle()
	t.modes = modes{}
	t.resetCharsets()
	b.saved = savedCursor{y: b.base()}
}

// Whether the cursor blinks, where a program has said so.
const (
	blinkUnset = iota
	blinkOff
	blinkOn
)

// setCursorStyle is DECSCUSR. A number that xterm.js does not know still says
// whether the cursor blinks: odd ones do.
func (m *modes) setCursorStyle(v int) {
	if v == 0 {
		m.shape, m.blink = 0, blinkUnset
		return
	}
	if v <= 6 {
		m.shape = byte(v+1) / 2
	}
	m.blink = blinkOff + byte(v%2)
}

// cursorStyle is the DECSCUSR that leads to the present state.
func (m *modes) cursorStyle() int {
	switch {
	case m.blink == blinkUnset:
		return 0
	case m.shape == 0:
		return 9 - int(m.blink) // 7 or 8
	}
	return int(m.shape)*2 - int(m.blink-blinkOff)
}

// modeState is how DECRQM says what a mode is.
func modeState(on bool) int {
	if on {
		return 1
	}
	return 2
}

// privateMode is DECRQM's answer about a private mode.
func (t *Terminal) privateMode(mode int) int {
	m := &t.modes
	switch mode {
	case 1:
		return modeState(m.cursorKeys)
	case 6:
		return modeState(m.origin)
	case 7:
		return modeState(!m.noWrap)
	case 8, 1048:
		return map[int]int{8: 3, 1048: 1}[mode]
	case 9, 1000, 1002, 1003:
		return modeState(t.mouse == map[int]byte{9: mouseX10, 1000: mouseVT200, 1002: mouseDrag, 1003: mouseAny}[mode])
	case 12:
		return modeState(t.blink == blinkOn)
	case 25:
		return modeState(!t.hidden)
	case 45:
		return modeState(m.reverseWrap)
	case 66:
		return modeState(m.keypad)
	case 67, 1005, 1015:
		return 4
	case 1004:
		return modeState(m.focus)
	case 1006, 1016:
		return modeState(t.encoding == map[int]byte{1006: mouseSGR, 1016: mousePixels}[mode])
	case 47, 1047, 1049:
		return modeState(t.b == t.alt)
	case 2004:
		return modeState(m.paste)
	case 2026:
		return modeState(m.sync)
	}
	return 0
}
