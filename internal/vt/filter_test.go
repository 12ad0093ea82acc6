package vt

import (
	"bytes"
	"encoding/base64"
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
		{"DECID", "\x1bZx", "x", ""},
		{"status and cursor", "ab\x1b[5n\x1b[6n\x1b[?6nc", "ab\x1b\\c", "\x1b[0n\x1b[1;3R\x1b[?1;3R"},
		{"modes", "\x1b[?7$p\x1b[4$px", "x", "\x1b[?7;1$y\x1b[4;2$y"},
		{"status string", "\x1bP$qr\x1b\\x\x1bP$qm\u009cy", "x\x1b\\y", "\x1bP1$r1;24r\x1b\\\x1bP1$r0m\x1b\\"},
		{"colours", "\x1b]10;?\x07\x1b]11;?\x1b\\x\x1b]4;1;?\u009cy", "x\x1b\\y",
			"\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]4;1;rgb:cccc/0000/0000\x1b\\"},
		{"a question and an answer in one", "\x1b]4;1;?;2;#f00\x07x", "\x1b]4;2;#f00\x1b\\x", "\x1b]4;1;rgb:cccc/0000/0000\x1b\\"},
		{"colours that follow", "\x1b]10;#fff;?\x07x", "\x1b]10;#fff;\x1b\\x", "\x1b]11;rgb:0000/0000/0000\x1b\\"},
		{"sizes", "\x1b[18t\x1b[14tx\x1b[22tx", "x\x1b[22tx", "\x1b[8;24;80t"},
		{"the clipboard is not read", "\x1b]52;c;?\x07x\x1b]52;c;aGk=\x07", "x\x1b]52;c;aGk=\x07", ""},
		{"the clipboard is not read by a third field", "\x1b]52;c;?;x\x07y\x1b]52;c;?x\x07z", "y\x1b\\z", ""},
		{"reports that xterm answers", "a\x1b[1;2;1;1;1;1*yb\x1b[1$wc\x1b[1$ud\x1b[&ue\x1b[1\"vf\x1b['|g\x1b[#|h\x1b[?1;1;0Si\x1b[?4mj\x1b[#R\x1b[?1gk",
			"a\x1b\\b\x1b\\c\x1b\\d\x1b\\e\x1b\\f\x1b\\g\x1b\\h\x1b\\i\x1b\\j\x1b\\k", ""},
		{"what is like a report", "\x1b[1;2;1;1;1;32$x\x1b[3S\x1b[>4;2m\x1b[4m", "\x1b[1;2;1;1;1;32$x\x1b[3S\x1b[>4;2m\x1b[4m", ""},
		{"termcap", "\x1bP+q544e\x1b\\x\x1bP+Q544e\x1b\\y", "x\x1b\\y", ""},
		{"ENQ", "a\x05b\x05\r\n\x1b[3\x051mc\x1b[\x056nd", "a\x1b\\b\x1b\\\r\n\x1b[31mc\x1b\\d", "\x1b[2;2R"},
		{"colours and fonts of others", "\x1b]5;0;?\x07a\x1b]17;?\x07b\x1b]21;foreground=?\x07c\x1b]50;?\x07d\x1b]22;?__current__\x07e\x1b]60\x07f",
			"a\x1b\\b\x1b\\c\x1b\\d\x1b\\e\x1b\\f", ""},
		{"iTerm2's reports", "\x1b]1337;ReportCellSize\x07a\x1b]1337;File=inline=1:AAAA\x07b\x1b]1337;ReportVariable=eA==\x07c",
			"a\x1b]1337;File=inline=1:AAAA\x07b\x1b\\c", ""},
		{"kitty's graphics", "\x1b_Gi=1,a=q;AAAA\x1b\\a\x1b_G\x1b\\b\x1b_other\x1b\\c\u009fGi=1\u009cd", "a\x1b\\b\x1b_other\x1b\\c\x1b\\d", ""},
		{"kitty's graphics, cut off", "a\x1b_Gi=1,a=q;\u0085b\x1b_Ga=q;é c", "a\u0085b\x1b\\ c", ""},
		{"colours that other terminals count", "\x1b]10;#fff;#fff;#fff;?\x07x\x1b]12;?;?\x07y\x1b]10;;;;;;?\x07", "\x1b]10;#fff;#fff;#fff;\x1b\\x\x1b\\y\x1b\\", "\x1b]12;rgb:f0f0/f0f0/f0f0\x1b\\"},
		{"a version, files, C1", "\x1b]702;?\x07a\x1b]5113;ac=send\x07b\u009ac", "a\x1b\\b\x1b\\c", ""},
		{"resources of rxvt-unicode and mintty", "\x1b]701;?\x07a\x1b]776;?\x07b\x1b]7770;?\x07c\x1b]7771;?;65\x07d\x1b]3;?WM_CLASS\x07e\x1b]701;C\x07\x1b]3;p=?\x07",
			"a\x1b\\b\x1b\\c\x1b\\d\x1b\\e\x1b]701;C\x07\x1b]3;p=?\x07", ""},
		{"kitty's remote control", "\x1bP@kitty-cmd{}\x1b\\a", "a", ""},
		{"reports of the size from now on", "\x1b[?2048hx\x1b[?25;2048;7hy\x1b[?2048l", "x\x1b[?25;7hy\x1b[?2048l", ""},
		{"the title's place", "\x1b[#Sx", "x", ""},
		{"DECID in the middle", "a\x1b[1\u009ab", "a\x1b\\b", ""},
		{"REP beyond its bound", "x\x1b[2147483647by\x1b[8192bz", "x\x1b[8192by\x1b[8192bz", ""},
		{"REP of nothing, with a control in it", "\x1b[99\n999b", "\n\x1b[8192b", ""},
		{"a notification that is asked for", "\x1b]99;i=1:p=?;\x07a\x1b]99;i=1;text\x07", "a\x1b]99;i=1;text\x07", ""},
		{"a title that is a question", "\x1b]0;Save?\x07\x1b]2;?\x07", "\x1b]0;Save?\x07\x1b]2;?\x07", ""},
		{"what a C1 control has ended", "\x1b]1;icon\u009d11;?\x07x\x1b]10;?\u009b5ny", "\x1b]1;icon\x18x\x1b\\y", "\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[0n"},
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
		if d := difference(a.dump("", asItIs), b.dump("", asItIs)); d != "" {
			t.Fatalf("seed %d: %+q: %s", seed, in, d)
		}
		for _, left := range [][]byte{whole, pieces} {
			rest, asked, c := filter(left, func(int) bool { return false })
			if asked != "" || !bytes.Equal(rest, left) {
				t.Fatalf("seed %d: %+q\n left %+q, which asks %q and leaves %+q", seed, in, left, asked, rest)
			}
			if d := difference(a.dump("", asItIs), c.dump("", asItIs)); d != "" {
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
		{"\x1b]0;", "x", true}, {"\x1b]52;c;", "QUJD", true}, {"\x1b]52;c;?;", "QUJD", false}, {"\x1b_G", "QUJD", false}, {"\x1b]4;", "1;?;", false}, {"\x1b[", "1;", false}, {"\x1bP$q", "m", false},
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

// TestAbuse30_LongQueries: one that is longer than is looked at is a query all the
// same, however it comes.
func TestAbuse30_LongQueries(t *testing.T) {
	for _, begin := range []string{"\x1b]10;?;", "\x1b]4;1;?;", "\x1b]52;c;?;", "\x1bP$q", "\x1bP+q", "\x1b_Ga=q;", "\x1b]1337;ReportVariable=", "\x1b]99;p=?;"} {
		for _, end := range []string{"\x1b\\", "\u009c", "\x07\x1b\\"} {
			for _, size := range []int{1 << 10, 4 << 10, 60_000, 1 << 20} {
				in := []byte("a" + begin + strings.Repeat("1", 70_000) + end + "$pb")
				out, answers, vt := filter(in, func(i int) bool { return i%size == 0 })
				if len(out) > 20 || len(answers) > 40 || !bytes.HasSuffix(out, []byte("b")) {
					t.Errorf("%q to %q in pieces of %d: %d bytes are passed on, %.60q, answered with %.60q", begin, end, size, len(out), out, answers)
				}
				if got, want := New(80, 24, Options{}), vt.Lines(0)[0]; got != nil {
					if got.Write(out); got.Lines(0)[0] != want {
						t.Errorf("%q to %q in pieces of %d: they see %q, we %q", begin, end, size, got.Lines(0)[0], want)
					}
				}
			}
		}
	}
}

// TestWhatEndsALongString: what was passed on of a long string ends for clients where
// it ends for us, also when what ends it is the beginning of a query.
func TestWhatEndsALongString(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 6))
		g := generator{r}
		begin := g.pick("\x1b]0;", "\x1b]1;", "\x1bPq", "\x1b_", "\x1b^", "\u009d2;", "\u0090q", "\x1b]52;c;")
		in := append(g.bytes(2), begin+strings.Repeat(g.pick("x", "é", "A"), passAfter-10+r.IntN(40))...)
		in = append(in, g.pick("\u009b6n", "\u009b5nx", "\u009d11;?\x07", "\u0090$qm\x1b\\", "\x1b[6n", "\u009fGa=q\x1b\\", "\x1b]11;?\x07", "\u0084", "\u009c", "\x18\x05", "\u009b31m")...)
		in = append(in, g.bytes(4)...)
		in = append(in, "\x18end"...)
		dense := 1 + r.IntN(3)
		out, answers, ours := filter(in, func(i int) bool { return i > passAfter-50 && r.IntN(dense) == 0 || i%1000 == 0 })
		rest, asked, theirs := filter(out, func(int) bool { return false })
		if asked != "" || !bytes.Equal(rest, out) {
			t.Fatalf("seed %d: what is passed on asks for %q", seed, asked)
		}
		if _, whole, _ := filter(in, func(int) bool { return false }); whole != answers {
			t.Fatalf("seed %d: answers %q, in one piece %q", seed, answers, whole)
		}
		if d := difference(ours.dump("", asItIs), theirs.dump("", asItIs)); d != "" {
			t.Fatalf("seed %d: %.60q ... %+q: %s", seed, in, in[max(0, len(in)-200):], d)
		}
	}
}

// TestRestIsCounted: what is passed on at the end still belongs to the sequence.
// What ends a long sequence, of which the beginning was passed on, is passed on too:
// else who gets it would take what follows for more of that.
func TestEndOfALongSequence(t *testing.T) {
	for _, begin := range []string{"\x1b]0;", "\x1bPq", "\x1b^", "\x1bX"} {
		for _, end := range []string{"\u009a", "\u0085", "\u009c", "\x18", "\x1a"} {
			vt := New(80, 24, Options{})
			out := vt.Filter(nil, []byte(begin+strings.Repeat("x", 2*passAfter)))
			if out = vt.Filter(out, []byte(end+"text")); !strings.HasSuffix(string(out), end+"text") {
				t.Errorf("%q then %q: it ends with %q", begin, end, out[len(out)-10:])
			}
			other := New(80, 24, Options{})
			other.Write(out)
			shown := func(vt *Terminal) string { return strings.TrimSpace(strings.Join(vt.Lines(0), "\n")) }
			if got, want := shown(other), shown(vt); got != want || got != "text" {
				t.Errorf("%q then %q: %q is shown, and %q where the output goes", begin, end, want, got)
			}
		}
	}
}

func TestRestIsCounted(t *testing.T) {
	for _, in := range []string{"a\x1b]0;" + strings.Repeat("x", 5000) + "\xc3", "a\x1b]0;title\xc3", "a\x1b[6", "a\x1b]11;?", "a\xe6\xbc"} {
		vt := New(80, 24, Options{})
		out := vt.Rest(vt.Filter(nil, []byte(in)))
		if before := out[:len(out)-vt.Unfinished()]; !bytes.HasPrefix([]byte("a"), bytes.TrimRight(before, "\xe6\xbc\x1b]0;title\xc3")) {
			t.Errorf("%.20q: the unfinished sequence begins after %.20q", in, before)
		}
		if bytes.Contains(out, []byte("11;?")) || bytes.Contains(out, []byte("[6")) {
			t.Errorf("%.20q: %.20q is passed on", in, out)
		}
	}
}

func TestNotifications(t *testing.T) {
	chunk := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("text "), 600))
	for _, c := range []struct{ in, want string }{
		{"\x1b]9;hello\a", "/hello"},
		{"\x1b]9;4;1;50\a", ""},
		{"\x1b]777;notify;build;done\a", "build/done"},
		{"\x1b]777;other;build\a", ""},
		{"\x1b]99;;hello\x1b\\", "/hello"},
		{"\x1b]99;i=1:d=0;Title\x1b\\\x1b]99;i=1:p=body;the \x1b\\\x1b]99;i=1:p=body;next\x1b\\", "Title/the /next"},
		{"\x1b]99;i=1:d=0;Title\x1b\\\x1b]99;i=1:p=body:d=0;the \x1b\\\x1b]99;i=1:p=body;body\x1b\\", "Title/the body"},
		{"\x1b]99;e=1;aGVsbG8=\x1b\\", "/hello"},
		{"\x1b]99;e=1;!\x1b\\", ""},
		{"\x1b]99;i=12:e=1;" + chunk + "\x1b\\", "/" + strings.Repeat("text ", 600)},
		{"\x1b]99;i=9:d=0;Title\x1b\\\x1b]99;i=9:p=close;\x1b\\", ""},
		{"\x1b]99;i=9:d=0;Title\x1b\\\x1b]99;i=9:p=?;\x1b\\\x1b]99;i=9:p=icon;AAAA\x1b\\", "/Title"},
		{"\x1b]99;i=1:d=0;one\x1b\\\x1b]99;i=2;two\x1b\\", "/two"},
	} {
		var got []string
		vt := New(80, 24, Options{Notify: func(title, body string) { got = append(got, title+"/"+body) }})
		vt.Write([]byte(c.in))
		if all := strings.Join(got, ""); all != c.want {
			t.Errorf("%.60q says %.60q, want %.60q", c.in, all, c.want)
		}
	}
}

// TestFolders: a shell's folder comes by OSC 7, and from iTerm2's integration.
func TestFolders(t *testing.T) {
	var got []string
	vt := New(80, 24, Options{Cwd: func(uri string) { got = append(got, uri) }})
	vt.Write([]byte("\x1b]7;file://h/tmp\a\x1b]1337;CurrentDir=/tmp/a b%\a\x1b]1337;CurrentDir=nowhere\a\x1b]1337;RemoteHost=a@b\a"))
	if want := "file://h/tmp file:///tmp/a%20b%25"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
