package vt

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// filter gives a terminal the output in pieces that end at the given places.
func filter(in []byte, cut func(i int) bool) (out []byte, answers string, t *Terminal) {
	var b strings.Builder
	t = New(80, 24, Options{Answer: func(p []byte) { b.Write(p) }})
	from := 0
	for i := range in {
		if i > from && cut(i) {
			out = t.Filter(out, in[from:i])
			from = i
		}
	}
	out = t.Filter(out, in[from:])
	return out, b.String(), t
}

func TestFilterTakesQueriesOut(t *testing.T) {
	for _, c := range []struct{ name, in, out, answers string }{
		{"nothing to take", "a\x1b[31mb\x1b]0;t\x07c\x1bPq#0\x1b\\d", "a\x1b[31mb\x1b]0;t\x07c\x1bPq#0\x1b\\d", ""},
		{"device attributes", "a\x1b[cb\x1b[0cb\x1b[>cb\x1b[=cd", "a\x1b\\b\x1b\\b\x1b\\b\x1b\\d", "\x1b[?1;2c\x1b[?1;2c\x1b[>0;276;0c"},
		{"DECID is no query of xterm.js", "\x1bZx", "\x1bZx", ""},
		{"status and cursor", "ab\x1b[5n\x1b[6n\x1b[?6nc", "ab\x1b\\c", "\x1b[0n\x1b[1;3R\x1b[?1;3R"},
		{"modes", "\x1b[?7$p\x1b[4$px", "x", "\x1b[?7;1$y\x1b[4;2$y"},
		{"status string", "\x1bP$qr\x1b\\x\x1bP$qm\u009cy", "x\x1b\\y", "\x1bP1$r1;24r\x1b\\\x1bP1$r0m\x1b\\"},
		{"colours", "\x1b]10;?\x07\x1b]11;?\x1b\\x\x1b]4;1;?\u009cy", "x\x1b\\y",
			"\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]4;1;rgb:cccc/0000/0000\x1b\\"},
		{"a question and an answer in one", "\x1b]4;1;?;2;#f00\x07x", "\x1b]4;2;#f00\x1b\\x", "\x1b]4;1;rgb:cccc/0000/0000\x1b\\"},
		{"colours that follow", "\x1b]10;#fff;?\x07x", "\x1b]10;#fff;\x1b\\x", "\x1b]11;rgb:0000/0000/0000\x1b\\"},
		{"sizes", "\x1b[18t\x1b[14tx\x1b[22tx", "x\x1b[22tx", "\x1b[8;24;80t"},
		{"the clipboard is not read", "\x1b]52;c;?\x07x\x1b]52;c;aGk=\x07", "x\x1b]52;c;aGk=\x07", ""},
		{"what other terminals answer", "\x1b[>qx\x1b[?uy\x1b[xz", "x\x1b\\y\x1b\\z", ""},
		{"a control in the middle", "a\x1b[\n6nb", "a\nb", "\x1b[2;2R"},
		{"C1", "a\u009bcb", "a\x1b\\b", "\x1b[?1;2c"},
		{"given up and begun again", "a\x1b[1\x1b[cb", "a\x1b[1\x1b\\b", "\x1b[?1;2c"},
		{"cancelled", "a\x1b[1\x18cb\x1b]10;?\x18c", "a\x1b[1\x18cb\x1b]10;?\x18c", ""},
	} {
		for name, cut := range map[string]func(int) bool{
			"whole": func(int) bool { return false }, "byte by byte": func(int) bool { return true }, "in pairs": func(i int) bool { return i%2 == 0 },
		} {
			out, answers, _ := filter([]byte(c.in), cut)
			if string(out) != c.out || answers != c.answers {
				t.Errorf("%s, %s: %q\n out %q, want %q\n answers %q, want %q", c.name, name, c.in, out, c.out, answers, c.answers)
			}
		}
	}
}

// TestFilterIsTheSameInPieces: where output is cut makes no difference, nothing
// but queries is missing, and the rest asks nothing.
func TestFilterIsTheSameInPieces(t *testing.T) {
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 5))
		in := append(generator{r}.bytes(1+r.IntN(30)), "\x18end"...)
		whole, answers, a := filter(in, func(int) bool { return false })
		pieces, again, b := filter(in, func(int) bool { return r.IntN(3) == 0 })
		// The bytes may differ: a control within a sequence goes before it when its end
		// came later.
		if answers != again {
			t.Fatalf("seed %d: %+q\n whole  %+q\n pieces %+q\n %q\n %q", seed, in, whole, pieces, answers, again)
		}
		if d := difference(a.dump("", false), b.dump("", false)); d != "" {
			t.Fatalf("seed %d: %+q: %s", seed, in, d)
		}
		for _, left := range [][]byte{whole, pieces} {
			rest, asked, c := filter(left, func(int) bool { return false })
			if asked != "" || !bytes.Equal(rest, left) {
				t.Fatalf("seed %d: %+q\n left %+q, which asks %q and leaves %+q", seed, in, left, asked, rest)
			}
			if d := difference(a.dump("", false), c.dump("", false)); d != "" {
				t.Fatalf("seed %d: %+q, left %+q: %s", seed, in, left, d)
			}
		}
	}
}

// TestAbuse29_HugeSequences: sequences without end take bounded memory; what could
// have been a query is passed on to nobody, the rest is.
func TestAbuse29_HugeSequences(t *testing.T) {
	for _, c := range []struct {
		begin, fill string
		passed      bool
	}{
		{"\x1b]0;", "x", true}, {"\x1b]52;c;", "QUJD", false}, {"\x1b]4;", "1;?;", false}, {"\x1b[", "1;", false}, {"\x1bP$q", "m", false},
		{"\x1bPq", "#0~~", true}, {"\x1b_", "y", true}, {"\x1b[", "\n", true}, {"\x1b]8;;http://", "a", true}, {"a", "\u0301", true},
	} {
		vt := New(80, 24, Options{})
		chunk := []byte(strings.Repeat(c.fill, 8<<10))
		out := len(vt.Filter(nil, []byte(c.begin)))
		sent := len(c.begin)
		for sent < 1<<20 {
			out += len(vt.Filter(nil, chunk))
			sent += len(chunk)
		}
		if kept := cap(vt.parser.held) + cap(vt.parser.str.text); kept > 4*maxPayload {
			t.Errorf("%q: %d bytes are kept", c.begin, kept)
		}
		for _, l := range vt.normal.rows {
			for _, s := range l.clusters {
				if len(s) > maxCluster+4 {
					t.Errorf("%q: a cell of %d bytes", c.begin, len(s))
				}
			}
		}
		if passed := out > sent/2; passed != c.passed {
			t.Errorf("%q: %d of %d bytes were passed on", c.begin, out, sent)
		}
		if got := string(vt.Filter(nil, []byte("\x18\x1b[Hz"))); !strings.HasSuffix(got, "\x1b[Hz") {
			t.Errorf("%q: after it %q", c.begin, got)
		}
	}
}

// FuzzTerminal: nothing panics, whatever is written and however it is resized, and
// a snapshot always comes out.
func FuzzTerminal(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(generator{r}.bytes(10), generator{r}.bytes(10), uint8(20), uint8(5), uint8(7), uint8(3))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, cols, rows, newCols, newRows uint8) {
		vt := New(int(cols), int(rows), Options{Scrollback: 50, Answer: func([]byte) {}})
		vt.Filter(nil, a)
		vt.Snapshot(10)
		vt.Resize(int(newCols), int(newRows))
		vt.Filter(nil, b)
		vt.Resize(int(cols), int(rows))
		vt.Snapshot(100)
		vt.Screen()
	})
}
