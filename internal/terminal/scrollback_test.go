package terminal

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

const plainEnd = "\x0f\x1b(B\x1b[0m"

func TestRedrawable(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		cut      bool
	}{
		"text and colours":        {in: "a\x1b[1;31mb\x1b[0m\r\n\tc\x08é…", want: "a\x1b[1;31mb\x1b[0m\r\n\tc\x08é…"},
		"a full-screen program":   {in: "before\r\n\x1b[?1049h\x1b[2Jvim\x1b[?25l\x1b[?1049lafter", want: "before\r\nafter"},
		"one that is not over":    {in: "before\r\n\x1b[?1049hvim", want: "before\r\n"},
		"one that began long ago": {in: "vim's end\x1b[?1049l$ ", want: "$ ", cut: true},
		"an end without a begin":  {in: "all\x1b[?1049l$ ", want: "all$ "},
		"reset":                   {in: "old\x1bcnew", want: "new"},
		"modes and mouse":         {in: "\x1b[?1000;1006h\x1b[?2004h\x1b[4h\x1b=x", want: "x"},
		"titles and clipboards":   {in: "\x1b]0;evil\x07\x1b]52;c;aGk=\x1b\\\x1b]10;?\x07x", want: "x"},
		"images":                  {in: "\x1bPq#0;2;0~\x1b\\\x1b_Gf=100;AAAA\x1b\\x", want: "x"},
		"bell and answerback":     {in: "a\x07\x05\x0eb", want: "ab"},
		"controls above 127":      {in: "a\u009b6n\u0085b\xffc", want: "a6nbc"},
		"a sequence that is cut":  {in: "a\x1b[3", want: "a"},
		"a character that is cut": {in: "a\xe2\x80", want: "a"},
		"a control in a sequence": {in: "a\x1b[\x1b[1mb\x1b[3\x18c", want: "a\x1b[1mbc"},
		"private forms":           {in: "\x1b[>4;2m\x1b[?1J\x1b[1 q\x1b[!px", want: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(redrawable([]byte(c.in), c.cut, 1<<20)); got != c.want+plainEnd && (c.want != "" || got != "") {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if got := redrawable([]byte(strings.Repeat("0123456789\n", 1000)), false, 25); string(got) != "0123456789\n0123456789\n"+plainEnd {
		t.Errorf("cut to %q", got)
	}
	if got := redrawable(nil, false, 10); got != nil {
		t.Errorf("of nothing %q", got)
	}
}

// asks is what makes a terminal answer, or change more than what it shows.
var asks = regexp.MustCompile(`\x1b(\[[^A-Za-z@` + "`" + `]*[cnpqtuxyhlri]|[\]PX^_cZ=>#%]|\[[<=>?!])`)

// Whatever a program wrote: drawn again it asks nothing and switches nothing.
func TestAbuse30_RestoredOutputAsksNothing(t *testing.T) {
	hostile := "\x1b[c\x1b[>c\x1b[6n\x1b[?6n\x1b[18t\x1b[?1$p\x1b[>q\x1b[?u\x1b[x\x1bZ\x05\x1bP$qm\x1b\\\x1bP+q544e\x1b\\" +
		"\x1b]52;c;?\x07\x1b]4;1;?\x1b\\\x1b]11;?\x07\x1b[\x1b[6n\x1b[6\x1b[6n\u009b6n\x1b\x1b[6n"
	got := redrawable([]byte("shown"+hostile+"too"), false, 1<<20)
	if bad := asks.Find(got); bad != nil || !bytes.Contains(got, []byte("shown")) || !bytes.Contains(got, []byte("too")) {
		t.Errorf("%q keeps %q", got, bad)
	}
}

func FuzzRedrawable(f *testing.F) {
	f.Add([]byte("a\x1b[?1049hb\x1b[?1049lc\x1b[6n\x1b]0;x\x07"), false)
	f.Add([]byte("\x1b[6\x1b\\\x1bPq\x1b[n"), true)
	f.Fuzz(func(t *testing.T, in []byte, cut bool) {
		got := redrawable(in, cut, 512)
		if bad := asks.Find(got); bad != nil {
			t.Errorf("%q of %q keeps %q", got, in, bad)
		}
		if len(got) > 512+len(plainEnd) || !utf8.Valid(got) {
			t.Errorf("%d bytes, %q", len(got), got)
		}
	})
}

// A line of ours is put in between what the program writes, never into it.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Scripted
		term, err := Start(context.Background(), &s, Command{Argv: []string{"x"}, Cols: 80, Rows: 24}, Options{Before: []byte("past\r\n")})
		if err != nil {
			t.Fatal(err)
		}
		p := pull(term, Join{Fresh: true})
		write := func(text string) { s.Last().Output([]byte(text)); synctest.Wait(); p.step() }
		write("one")
		const line = "\x1b[0m\r\n\x1b[1mhello\x1b[0m\r\n"
		if !term.Announce("hello") {
			t.Error("refused")
		}
		p.step()
		write("two\x1b[3")
		if !term.Announce("hello") {
			t.Error("refused inside of a sequence")
		}
		p.step()
		want := "past\r\none" + line + "two" // what may become a question is kept back
		if p.got.String() != want {
			t.Errorf("%q, want %q", p.got.String(), want)
		}
		write("1mthree")
		if want += "\x1b[31mthree" + line; p.got.String() != want {
			t.Errorf("%q, want %q", p.got.String(), want)
		}
		write("\x1b[?1049hvim")
		if term.Announce("hello") {
			t.Error("into a full-screen program")
		}
		write("\x1b[?1049l$ ")
		if !term.Announce("hello") {
			t.Error("refused after it")
		}
		if got := string(term.Scrollback(1 << 10)); strings.Contains(got, "vim") || !strings.Contains(got, "past") || strings.Count(got, "hello") != 3 {
			t.Errorf("%q", got)
		}
		s.Last().End(Exit{})
		synctest.Wait()
		if term.Announce("hello") {
			t.Error("after the end")
		}
		p.Detach()
		term.Close()
	})
}

// A line longer than what is kept is cut between two characters or sequences.
func TestALongLineIsCutBetweenCharacters(t *testing.T) {
	const colour, letter = "\x1b[38;5;208m", "\u20ac"
	unit := colour + letter + "ab"
	out := []byte(strings.Repeat(unit, 50))
	for limit := len(unit) * 3; limit < len(unit)*5; limit++ {
		got := string(redrawable(out, false, limit))
		rest, _ := strings.CutSuffix(got, "\x0f\x1b(B\x1b[0m")
		if len(rest) > limit || len(rest) < limit-len(unit) || !strings.HasSuffix(string(out), rest) {
			t.Fatalf("limit %d: %q", limit, rest)
		}
		if !utf8.ValidString(rest) || !strings.HasPrefix(rest, colour) && !strings.HasPrefix(rest, letter) && !strings.HasPrefix(rest, "ab") && !strings.HasPrefix(rest, "b\x1b") {
			t.Errorf("limit %d begins with %.20q", limit, rest)
		}
	}
	if got := string(redrawable([]byte("one\n"+strings.Repeat("x", 10)), false, 12)); !strings.HasPrefix(got, "xxxxxxxxxx\x0f") {
		t.Errorf("%q", got)
	}
}
