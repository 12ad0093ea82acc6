package vt

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
	case '='<<8 | 'c', greater | 'q', private | 'u', 'x', // DA3, XTVERSION, kitty's keyboard, DECREQTPARM
		'*'<<8 | 'y', dollar | 'w', dollar | 'u', '&'<<8 | 'u', // DECRQCRA, DECRQPSR, DECRQTSR, DECRQUPSS
		quote | 'v', tick | '|', '#'<<8 | '|', '#'<<8 | 'R', '#'<<8 | 'S', // DECRQDE, DECRQLP, XTREPORTSGR, XTREPORTCOLORS, XTTITLEPOS
		private | 'S', private | 'm', private | 'g': // XTSMGRAPHICS, XTQMODKEYS, XTQFMTKEYS
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

// reports are the OSC 1337 that iTerm2 and WezTerm answer.
var reports = []string{"ReportCellSize", "ReportVariable=", "Capabilities", "RequestUpload="}

// mayAsk says whether an OSC, of which so much has come, can be a query.
func mayAsk(id int, text string) bool {
	switch id {
	case 52:
		_, what, whole := strings.Cut(text, ";")
		return !whole || what == "" || what[0] == '?'
	case 99:
		metadata, _, whole := strings.Cut(text, ";")
		return !whole || strings.Contains(metadata, "p=?") || strings.Contains(metadata, "p=alive")
	case 1337:
		return slices.ContainsFunc(reports, func(name string) bool {
			return strings.HasPrefix(text, name) || strings.HasPrefix(name, text)
		})
	}
	if marked(id) {
		return text == "" || text[0] == '?'
	}
	return id >= 10 && id <= 19 || slices.Contains([]int{4, 5, 21, 60, 61, 5113, 5522}, id)
}

// marked are those OSC that ask when their text begins with a question mark: for a
// property (3), the pointer (22), fonts and other resources of rxvt-unicode and mintty.
func marked(id int) bool {
	switch id {
	case 3, 22, 39, 49, 50, 776, 7770, 7771, 7777:
		return true
	}
	return id >= 701 && id <= 713
}

// oscAsks says whether an OSC that xterm.js does not answer is a query to another
// terminal: for colours (5, 13 to 19, 21), what is allowed (60, 61), the clipboard
// (52, 5522), files (5113), notifications (99), a report (1337), or what is marked.
func oscAsks(id int, text string) bool {
	switch id {
	case 5, 13, 14, 15, 16, 17, 18, 19, 21:
		return slices.ContainsFunc(strings.Split(text, ";"), func(s string) bool { return strings.HasSuffix(s, "?") })
	case 52: // its reading is refused: nobody is asked
		_, what, _ := strings.Cut(text, ";")
		return strings.HasPrefix(what, "?")
	case 60, 61, 5113, 5522:
		return true
	case 99, 1337:
		return mayAsk(id, text)
	}
	return marked(id) && strings.HasPrefix(text, "?")
}

// reportSize is the mode in which terminals type their size, at once and at each change.
const reportSize = 2048

// reportsSize says whether that mode is among those that are set, and what others are.
func reportsSize(p *params) (others []byte, reports bool) {
	for _, v := range p.value[:p.n] {
		if v == reportSize {
			reports = true
			continue
		}
		others = append(strconv.AppendInt(others, int64(v), 10), ';')
	}
	return bytes.TrimSuffix(others, []byte{';'}), reports
}
