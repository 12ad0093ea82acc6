package muxclient

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"staithe/internal/vt"
)

func TestQueriesAreTakenOut(t *testing.T) {
	long := strings.Repeat("A", 2*maxHeld)
	for in, want := range map[string]string{
		"plain\r\n": "plain\r\n",
		// Control sequences.
		"a\x1b[cb":                               "ab",
		"a\x1b[>0cb\x1b[=cc":                     "abc",
		"a\x1b[6nb\x1b[5n\x1b[?6n\x1b[?996n":     "ab",
		"a\x1b[?2026$pb\x1b[4$p":                 "ab",
		"a\x1b[>qb\x1b[?ub":                      "abb",
		"a\x1b[14tb\x1b[22;0tc\x1b[021t":         "ab\x1b[22;0tc",
		"a\x1b[?1;1;0Sb\x1b[2S":                  "ab\x1b[2S",
		"a\x1b[1$wb\x1b[2$w":                     "ab",
		"a\x1b[1;1;1;1;9;9*yb":                   "ab",
		"a\x1b[?4mb\x1b[>4;1m\x1b[4m":            "ab\x1b[>4;1m\x1b[4m",
		"a\x1b[?4gb\x1b[3g":                      "ab\x1b[3g",
		"a\x1b[xb\x1b[1;2;3$x\x1b[2*x":           "ab\x1b[1;2;3$x\x1b[2*x",
		"a\x1b[&ub\x1b[1$uc\x1b[u\x1b[>1u":       "abc\x1b[u\x1b[>1u",
		"a\x1b[#Rb\x1b[1;1;2;2#|c\x1b['|\x1b[#P": "abc\x1b[#P",
		"a\x1b[#Sb\x1b[?2048hc\x1b[?25h":         "abc\x1b[?25h",
		"a\x1b[>4nb":                             "a\x1b[>4nb", // XTMODKEYS off
		"\x1b[31mred\x1b[0m\x1b[2J":              "\x1b[31mred\x1b[0m\x1b[2J",
		"\x1b[!p\x1b[1 q":                        "\x1b[!p\x1b[1 q",
		"\x1b[1;2\"p\x1b[1;1;2;2$t":              "\x1b[1;2\"p\x1b[1;1;2;2$t",
		// Others.
		"a\x1bZb\x05c":                                     "abc",
		"\x1b[?1049h\x1b(B\x1b7\x1b8\x1b#8":                "\x1b[?1049h\x1b(B\x1b7\x1b8\x1b#8",
		"\x1b([6n":                                         "\x1b([6n",
		"a\x1bP$qm\x1b\\b":                                 "ab",
		"a\x1bP+q544e\x1b\\b\x1bP+Qx\x1b\\c":               "abc",
		"a\x1bP0;1;0q#0~\x1b\\b":                           "a\x1bP0;1;0q#0~\x1b\\b",
		"a\x1bP@kitty-cmd{}\x1b\\b":                        "ab",
		"a\x1b_Gi=1,a=q,s=1;AAAA\x1b\\b":                   "ab",
		"a\x1b_Ga=T,f=100;a=q\x1b\\b":                      "a\x1b_Ga=T,f=100;a=q\x1b\\b",
		"a\x1b_Gi=7,f=100;AA\x1b\\b\x1b_Gi=7,q=2;AA\x1b\\": "ab\x1b_Gi=7,q=2;AA\x1b\\",
		"a\x1b_tmux a=q\x1b\\\x1b^x\x1b\\":                 "a\x1b_tmux a=q\x1b\\\x1b^x\x1b\\",
		// Operating system commands: those that ask, and only where they do.
		"a\x1b]11;?\x07b\x1b]012;?\x07":                                                  "ab",
		"a\x1b]10;?\x1b\\b\x1b]10;#fff;?\x07":                                            "ab",
		"a\x1b]4;1;?\x07b\x1b]4;1;?;2;#fff\a":                                            "ab",
		"\x1b]4;1;#fff\x07\x1b]11;red\x07":                                               "\x1b]4;1;#fff\x07\x1b]11;red\x07",
		"a\x1b]52;c;?\x07b\x1b]52;c;aGk=\x07":                                            "ab\x1b]52;c;aGk=\x07",
		"a\x1b]50;?\x07b\x1b]22;?text\x07\x1b]22;text\x07":                               "ab\x1b]22;text\x07",
		"a\x1b]701;?\x07b\x1b]702;?\x07c\x1b]7771;?;65\x07d\x1b]3;?P\x07\x1b]776;x?\x07": "abcd\x1b]776;x?\x07",
		"a\x1b]21;foreground=?\x07b\x1b]21;foreground=red\x07":                           "ab\x1b]21;foreground=red\x07",
		"a\x1b]1337;ReportCellSize\x07b\x1b]1337;ReportVariable=eA==\x07":                "ab",
		"a\x1b]1337;Capabilities\x1b\\b\x1b]1337;SetUserVar=a=Pw==?\x07":                 "ab\x1b]1337;SetUserVar=a=Pw==?\x07",
		"a\x1b]99;i=1:p=?;\x07b\x1b]99;i=1;Go on?\x07":                                   "ab\x1b]99;i=1;Go on?\x07",
		"a\x1b]60\x07b\x1b]5522;type=read\x1b\\c":                                        "abc",
		"a\x1b]0;Save?\x07b\x1b]2;?\x07\x1b]1;a;?\x1b\\":                                 "a\x1b]0;Save?\x07b\x1b]2;?\x07\x1b]1;a;?\x1b\\",
		"\x1b]0;what?no\x07\x1b]777;notify;Really;?\x07\x1b]9;Done?\x07":                 "\x1b]0;what?no\x07\x1b]777;notify;Really;?\x07\x1b]9;Done?\x07",
		"\x1b]8;;http://a?\x07l\x1b]8;;\x1b\\":                                           "\x1b]8;;http://a?\x07l\x1b]8;;\x1b\\",
		"\x1b]133;C;cmdline_url=ls%20?\x07\x1b]7;file:///a?\x07\x1b]104;?\x07":           "\x1b]133;C;cmdline_url=ls%20?\x07\x1b]7;file:///a?\x07\x1b]104;?\x07",
		// C1 controls as UTF-8.
		"é©a\u009b6nb\u009b1mc\u009ad":                       "é©ab\u009b1mcd",
		"a\u009d11;?\u009cb\u009d0;t\u009cc\u0090$qm\u009cd": "ab\u009d0;t\x1b\\cd",
		"a\u009fGa=q\x1b\\b\u0085":                           "ab\u0085",
		// Broken off, cancelled, and what might come together once a query is gone.
		"a\x1b]0;t\x1b[6nb":                               "a\x1b]0;t\x1b\\b",
		"a\x1b]11;?\x1b[1mb":                              "a\x1b[1mb",
		"a\x1b]11;\x1b[c?\x07b":                           "a\x1b]11;\x1b\\?\ab",
		"a\x1b[1\x1b[c6nb":                                "a6nb",
		"a\x1b[\n6\x0enb":                                 "a\n\x0eb",
		"a\x1b[?\x7fub":                                   "ab",
		"a\xc2\x1b[c\x9b6nb":                              "a\ufffd\x9b6nb",
		"a\xc2\x05\x9b6nb":                                "ab",
		"a\x1b]11;\x18?\x07b\x1a":                         "a?\ab\x1a",
		"a\x1b[6é\x1b]0;é©\x07":                           "aé\x1b]0;é©\x07",
		"a\x1bPtmux;\x1b\x1b[c\x1b\\b\x1bP$q\x07m\x1b\\c": "a\x1bPtmux;\x1b\\\x1b\\bc",
		// Longer than is held.
		"a\x1b[" + strings.Repeat("0", 2*maxHeld) + "6nb":                            "ab",
		"a\x1b]52;c;" + long + "\x07b":                                               "a\x1b]52;c;" + long + "\x07b",
		"a\x1b]52;" + long + ";?\x07b\x1b]4;1;" + long + ";2;?\x07":                  "ab",
		"a\x1b_Ga=T;" + long + "\x1b\\b\x1b_Ga=q;" + long + "\x1b\\c":                "a\x1b_Ga=T;" + long + "\x1b\\bc",
		"a\x1bPq" + long + "\x1b\\b\x1bP$q" + long + "\x1b\\\x1bPq" + long + "\x18c": "a\x1bPq" + long + "\x1b\\b\x1bPq" + long + "\x1b\\c",
		"a\x1b]1337;File=:" + long + "\x1b[6n\x1b]0;" + long + "?\x07":               "a\x1b]1337;File=:" + long + "\x1b\\\x1b]0;" + long + "?\x07",
	} {
		var q Queries
		if got := q.Strip(nil, []byte(in)); string(got) != want {
			t.Errorf("%.100q: %.100q, want %.100q", in, got, want)
		}
		var one Queries
		var out []byte
		for i := range len(in) {
			out = one.Strip(out, []byte{in[i]})
		}
		if string(out) != want {
			t.Errorf("%.100q byte by byte: %.100q, want %.100q", in, out, want)
		}
	}
}

// checkStrip: how the bytes are cut makes no difference, the held part is bounded,
// and what is left asks nothing, neither by the rules here nor of the emulator.
func checkStrip(t *testing.T, b []byte, cut int) {
	t.Helper()
	var whole, parts, again Queries
	want := whole.Strip(nil, b)
	cut = min(max(cut, 0), len(b))
	got := parts.Strip(parts.Strip(nil, b[:cut]), b[cut:])
	if !bytes.Equal(got, want) || len(whole.held) > maxHeld {
		t.Fatalf("%q cut at %d: %q, want %q", b, cut, got, want)
	}
	if twice := again.Strip(nil, want); !bytes.Equal(twice, want) {
		t.Fatalf("%q is %q, and that %q", b, want, twice)
	}
	term := vt.New(80, 24, vt.Options{Answer: func(p []byte) { t.Fatalf("%q is %q, which is answered with %q", b, want, p) }})
	term.Filter(nil, want)
}

// TestWhatIsLeftAsksNothing puts pieces of sequences together at random.
func TestWhatIsLeftAsksNothing(t *testing.T) {
	pieces := []string{"\x1b", "[", "]", "P", "_", "\\", "\a", "\xc2", "\x9b", "\x9d", "\x9c", "\x90", "\u009d", "\x1b[", "\x1b]", "\x1bP", "?", ";", "11", "4;1", "6", "n", "c",
		"c", "$", "q", "$qm", "p", ";?", "\x05", "\x18", "\n", "\x7f", "é", "x", "18t", "0", "\ufeff", "\x1b[\x1b", "52;c"}
	r := rand.New(rand.NewPCG(3, 7))
	for range 20_000 {
		var b []byte
		for range 1 + r.IntN(14) {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
		checkStrip(t, b, r.IntN(len(b)+1))
	}
}

func FuzzQueries(f *testing.F) {
	f.Add([]byte("a\x1b[cb\x1b]11;?\x07\x1bP$qm\x1b\\"), 3)
	f.Add([]byte("a\u009b6n\x1b]0;Save?\x1b[\n5n\x1b_Ga=q;A\u009c\x05"), 9)
	f.Fuzz(checkStrip)
}
