package vt

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator writes what a hostile, confused or busy program might.
type generator struct{ r *rand.Rand }

func (g generator) pick(s ...string) string { return s[g.r.IntN(len(s))] }

func (g generator) number() string {
	switch g.r.IntN(12) {
	case 0:
		return ""
	case 1:
		return "0"
	case 2:
		return fmt.Sprint(g.r.IntN(300))
	case 3:
		return "999" // xterm.js counts some down one by one: 2147483647 would take it hours
	}
	return fmt.Sprint(1 + g.r.IntN(12))
}

func (g generator) numbers(n int) string {
	parts := make([]string, g.r.IntN(n+1))
	for i := range parts {
		parts[i] = g.number()
	}
	return strings.Join(parts, ";")
}

func (g generator) sgr() string {
	parts := make([]string, 1+g.r.IntN(4))
	for i := range parts {
		switch g.r.IntN(8) {
		case 0:
			parts[i] = g.pick("38", "48", "58") + g.pick(";5;", ":5:") + fmt.Sprint(g.r.IntN(300))
		case 1:
			parts[i] = fmt.Sprintf(g.pick("38", "48", "58")+g.pick(";2;%d;%d;%d", ":2:%d:%d:%d", ":2::%d:%d:%d"), g.r.IntN(256), g.r.IntN(256), g.r.IntN(256))
		case 2:
			parts[i] = "4:" + fmt.Sprint(g.r.IntN(7))
		case 3:
			parts[i] = g.pick("0", "", "39", "49", "59", "24", "22")
		case 4:
			parts[i] = fmt.Sprint(30+g.r.IntN(10), ";", 40+g.r.IntN(10))
		case 5:
			parts[i] = fmt.Sprint(g.r.IntN(110))
		default:
			parts[i] = fmt.Sprint(g.r.IntN(10))
		}
	}
	return "\x1b[" + strings.Join(parts, g.pick(";", ";", ";", ":")) + "m"
}

var privateModes = []string{"1", "2", "3", "6", "7", "9", "12", "25", "45", "47", "66", "1000", "1002", "1003", "1004", "1005", "1006", "1015", "1016", "1047", "1048", "1049", "2004", "2026"}

func (g generator) csi() string {
	switch g.r.IntN(10) {
	case 0:
		return "\x1b[?" + g.pick(privateModes...) + g.pick("h", "l")
	case 1:
		return "\x1b[" + g.pick("4", "20") + g.pick("h", "l")
	case 2:
		return "\x1b[" + g.numbers(2) + "r"
	case 3:
		if g.r.IntN(10) == 0 {
			return fmt.Sprintf("\x1b[%db", g.r.IntN(20))
		}
		return "\x1b[" + g.number() + g.pick("J", "K", "J", "K", "L", "M", "P", "X", "@", "S", "T", "g")
	case 4:
		return "\x1b[" + g.pick("", "?") + g.pick("0", "1", "2", "3", "") + g.pick("J", "K")
	case 5:
		return "\x1b[" + g.number() + g.pick(" @", " A", "'}", "'~", " q", "\"q", "!p", "$p")
	case 6:
		return "\x1b[" + g.pick("", ">", "=", "?", "<") + g.numbers(3) + string(rune(0x40+g.r.IntN(0x3F)))
	case 7:
		return "\x1b[?" + g.pick(privateModes...) + "$p"
	}
	if g.r.IntN(20) == 0 {
		return "\x1b[" + g.pick("99999999999", "2147483647", "65536;65536") + g.pick("A", "B", "C", "D", "G", "H", "d", "e", "X", "P", "@")
	}
	return "\x1b[" + g.numbers(2) + g.pick("A", "B", "C", "D", "E", "F", "G", "H", "H", "H", "I", "Z", "`", "a", "d", "e", "f", "s", "u")
}

func (g generator) escape() string {
	switch g.r.IntN(4) {
	case 0:
		return "\x1b" + g.pick("(", ")", "*", "+", "-", ".", "/") + g.pick("0", "A", "B", "4", "C", "5", "R", "Q", "K", "Y", "E", "6", "Z", "H", "7", "=", "X")
	case 1:
		return "\x1b" + g.pick("7", "8", "7", "8", "D", "E", "H", "M", "=", ">", "n", "o", "|", "}", "~", "%@", "%G")
	case 2:
		return g.pick("\u0084", "\u0085", "\u0088", "\u008d", "\u009c")
	}
	return g.pick("\x1b7", "\x1b8", "\x1bM", "\x1bD", "\x0e", "\x0f")
}

func (g generator) osc() string {
	body := g.pick(
		"0;title", "2;ünïcode title", "1;icon", "0;", "8;;http://example.com/a", "8;id=x;http://example.com/b", "8;;", "8;id=y:foo=1;http://c",
		"4;1;rgb:ff/00/00", "4;1;?", "10;#fff;#000", "10;?", "11;?", "104", "104;1", "112", "7;file://h/tmp", "133;A", "133;D;0",
		"52;c;?", "52;c;aGk=", "9;hello", "777;notify;a;b", "x;y", "999999999999;z", "", "8;a", "2;a\x00b\x1fc")
	return g.pick("\x1b]", "\u009d") + body + g.pick("\x07", "\x1b\\", "\u009c", "\x18", "")
}

var texts = []string{
	"界", "한글", "e\u0301", "👩\u200d👩\u200d👧", "🇩🇪🇫🇷", "🇩", "☺\ufe0f", "❤", "\u0301", "\u200d", "ﷺ", "ก็", "ि", "नि", "क्षि", "\u1100\u1161\u11a8", "\u0600a",
	"ｆ", "—“”…", "┌─┐", "🙂", "👍🏽", "\u200b", "\u00ad", "\u00a0", "\U0001F1E6", "\U000E0100", "½", "ß", "\ufeff", "\ufffd", "\U0010FFFF",
}

func (g generator) text() string {
	switch g.r.IntN(5) {
	case 0:
		return strings.Repeat(g.pick("x", "ab ", "~", " "), 1+g.r.IntN(30))
	case 1:
		return g.pick(texts...)
	case 2:
		return g.pick(texts...) + g.pick(texts...) + g.pick("a", " ", "")
	}
	return "hello world, this is text"[:1+g.r.IntN(24)]
}

func (g generator) other() string {
	switch g.r.IntN(5) {
	case 0: // bytes
		b := make([]byte, 1+g.r.IntN(5))
		for i := range b {
			b[i] = byte(g.r.IntN(256))
		}
		return string(b)
	case 1:
		return g.pick("\x1bP$q", "\u0090$q") + g.pick("m", "r", "\"p", "\"q", " q", "x", "") + g.pick("\x1b\\", "\u009c", "\x18", "")
	case 2:
		return g.pick("\x1bX", "\x1b^", "\x1b_", "\x1bPq", "\x1bP1;2|") + g.text() + g.pick("\x1b\\", "\x07", "")
	case 3:
		return "\x1b[" + g.numbers(3) + g.pick("\n", "\r", "\x08", "\x18", "\x1a", "\x1b", "\x7f", "é", "\u009b") + g.pick("H", "m", "5A")
	}
	return g.pick("\x1bc", "\x1b#8", "\x1b[18t", "\x1b[!p", "\x1b[c", "\x1b[>c", "\x1b[6n", "\x1b[?6n", "\x1b[5n")
}

// bytes is n pieces of output.
func (g generator) bytes(n int) []byte {
	var b strings.Builder
	for range n {
		switch k := g.r.IntN(20); {
		case k < 6:
			b.WriteString(g.text())
		case k < 9:
			b.WriteString(g.pick("\r\n", "\n", "\r", "\x08", "\t", "\x0b", "\x07"))
		case k < 14:
			b.WriteString(g.csi())
		case k < 16:
			b.WriteString(g.sgr())
		case k < 18:
			b.WriteString(g.escape())
		case k < 19:
			b.WriteString(g.osc())
		default:
			b.WriteString(g.other())
		}
	}
	return []byte(b.String())
}

// text is a case of words, emoji and marks in a window whose size changes, some of them written
// over, erased or moved; with wraparound off at times.
func text(seed uint64) request {
	r := rand.New(rand.NewPCG(seed, 99))
	g := generator{r}
	q := request{Cols: 2 + r.IntN(8), Rows: 2 + r.IntN(5), Scrollback: 2000}
	if r.IntN(8) == 0 {
		q.Cols, q.Rows = 20+r.IntN(100), 10+r.IntN(30)
	}
	screens := r.IntN(3) == 0 // both, with regions and charsets
	for range 1 + r.IntN(4) {
		var b strings.Builder
		for range 1 + r.IntN(14) {
			b.WriteString(g.clusters(q, screens))
		}
		q.Steps = append(q.Steps, write([]byte(b.String())))
		if r.IntN(3) > 0 {
			q.Steps = append(q.Steps, resize(max(2, q.Cols+r.IntN(9)-4), max(2, q.Rows+r.IntN(3)-1)))
		}
	}
	return q
}

// clusters writes some of a text, or what moves, erases or draws it otherwise.
func (g generator) clusters(q request, screens bool) string {
	switch g.r.IntN(15) {
	case 0, 1, 2, 3:
		return g.pick("e\u0301", "❤\ufe0f", "漢", "👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "🇩", "각", "\u1100\u1161\u11a8", "\u1100", "\u1161", "❤")
	case 4:
		return g.pick("\u0301", "\u200d", "\ufe0f", "\u0600", "\u0600\u0600", strings.Repeat("\u0600", 130)+"漢")
	case 5, 6:
		return g.pick("a", "bc", "def", "ghijkl", "ok ", "word word ")
	case 7, 8:
		return g.pick("\r\n", "\n", "\r", "\b")
	case 9:
		return g.pick("\x1b[K", "\x1b[1K", "\x1b[X", "\x1b[P", "\x1b[@", "\x1b[2P", "\x1b[J")
	case 10:
		return fmt.Sprintf("\x1b[%d;%dH", 1+g.r.IntN(q.Rows), 1+g.r.IntN(q.Cols+2))
	case 11:
		return fmt.Sprintf("\x1b[%dG", 1+g.r.IntN(q.Cols+2))
	case 12:
		return g.pick("\x1b[44m", "\x1b[m", "\x1b[1;4m", "\x1b[m", "\x1b[1\"q", "\x1b[?K", "\x1b]8;;u\x1b\\", "\x1b]8;;\x1b\\")
	case 13:
		return g.pick("\x1b[?7l", "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[?7h", "\x1b[4l")
	}
	if !screens {
		return ""
	}
	return g.pick("\x1b[?47h", "\x1b[?47l", "\x1b[?1049h", "\x1b7", "\x1b8", "\x1b(0", "\x1b(B", "\x1b[?6h", "\x1b[2;3r")
}
