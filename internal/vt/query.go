package vt

import "fmt"

// csiQuery answers what asks something. What xterm.js answers is answered as it
// does; other questions are taken out of the stream all the same, as a client
// might know them.
func (t *Terminal) csiQuery(ident uint32, p *params) {
	asks := true
	switch ident {
	case 'c':
		if p.get(0) == 0 {
			t.answer("\x1b[?1;2c")
		}
	case greater | 'c':
		if p.get(0) == 0 {
			t.answer("\x1b[>0;276;0c")
		}
	case 'n', private | 'n':
		t.status(p.get(0), ident != 'n')
	case dollar | 'p':
		t.answer(fmt.Sprintf("\x1b[%d;%d$y", p.get(0), t.ansiMode(p.get(0))))
	case askDECRQ:
		t.answer(fmt.Sprintf("\x1b[?%d;%d$y", p.get(0), t.privateMode(p.get(0))))
	case 't':
		asks = t.windowReport(p)
	case '='<<8 | 'c', greater | 'q', private | 'u', 'x': // DA3, XTVERSION, kitty's keyboard, DECREQTPARM
	default:
		asks = false
	}
	t.parser.query = t.parser.query || asks
}

// status is DSR.
func (t *Terminal) status(what int, private bool) {
	x, y := t.b.x+1, t.b.y+1
	switch {
	case what == 6 && private:
		t.answer(fmt.Sprintf("\x1b[?%d;%dR", y, x))
	case what == 6:
		t.answer(fmt.Sprintf("\x1b[%d;%dR", y, x))
	case what == 5 && !private:
		t.answer("\x1b[0n")
	}
}

// ansiMode is DECRQM's answer about a mode that is not private.
func (t *Terminal) ansiMode(mode int) int {
	switch mode {
	case 2:
		return 4
	case 4:
		return modeState(t.modes.insert)
	case 12:
		return 3
	case 20:
		return modeState(t.newLine)
	}
	return 0
}

// windowReport answers the reports of sizes. The others of XTWINOPS, such as the
// title's, say what a program could use to type; they are not answered.
func (t *Terminal) windowReport(p *params) bool {
	switch p.get(0) {
	case 14:
		if t.cellW > 0 && t.cellH > 0 && p.get(1) != 2 {
			t.answer(fmt.Sprintf("\x1b[4;%d;%dt", t.cellH*t.rows, t.cellW*t.cols))
		}
	case 16:
		if t.cellW > 0 && t.cellH > 0 {
			t.answer(fmt.Sprintf("\x1b[6;%d;%dt", t.cellH, t.cellW))
		}
	case 18:
		t.answer(fmt.Sprintf("\x1b[8;%d;%dt", t.rows, t.cols))
	case 11, 13, 15, 19, 20, 21:
	default:
		return false
	}
	return true
}

// statusString is DECRQSS.
func (t *Terminal) statusString(what string) {
	answer := "0$r"
	switch what {
	case `"q`:
		answer = `1$r0"q`
		if t.attr.bg&protected != 0 {
			answer = `1$r1"q`
		}
	case `"p`:
		answer = `1$r61;1"p`
	case "r":
		answer = fmt.Sprintf("1$r%d;%dr", t.b.top+1, t.b.bottom+1)
	case "m":
		answer = "1$r0m"
	case " q":
		answer = "1$r2 q"
		if t.blink == blinkOn {
			answer = "1$r1 q"
		}
	}
	t.answer("\x1bP" + answer + "\x1b\\")
}
