package muxclient

import (
	"bytes"
	"testing"
)

func TestQueriesAreTakenOut(t *testing.T) {
	for in, want := range map[string]string{
		"plain\r\n":                     "plain\r\n",
		"a\x1b[cb":                      "ab",
		"a\x1b[>0cb\x1b[=cc":            "abc",
		"a\x1b[6nb\x1b[5n\x1b[?6n":      "ab",
		"a\x1b[?2026$pb":                "ab",
		"a\x1b[>qb\x1b[?ub":             "abb",
		"a\x1b[14tb\x1b[22;0tc":         "ab\x1b[22;0tc",
		"a\x1bP$qm\x1b\\b":              "ab",
		"a\x1bP+q544e\x1b\\b":           "ab",
		"a\x1b]11;?\x07b":               "ab",
		"a\x1b]10;?\x1b\\b":             "ab",
		"a\x1b]4;1;?\x07b":              "ab",
		"a\x1b]52;c;?\x07b":             "ab",
		"\x1b]0;what?no\x07":            "\x1b]0;what?no\x07",
		"\x1b[31mred\x1b[0m\x1b[2J":     "\x1b[31mred\x1b[0m\x1b[2J",
		"\x1b[?1049h\x1b(B\x1b7\x1b8":   "\x1b[?1049h\x1b(B\x1b7\x1b8",
		"\x1b]8;;http://a?b\x07l\x1b\\": "\x1b]8;;http://a?b\x07l\x1b\\",
		"\x1b[!p\x1b[1 q":               "\x1b[!p\x1b[1 q",
		"a\x1bZb":                       "ab",
	} {
		var q Queries
		if got := q.Strip(nil, []byte(in)); string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		var one Queries
		var out []byte
		for i := range len(in) {
			out = one.Strip(out, []byte{in[i]})
		}
		if string(out) != want {
			t.Errorf("%q byte by byte: %q, want %q", in, out, want)
		}
	}
}

// FuzzQueries: how the bytes are cut makes no difference, and the held part is
// bounded.
func FuzzQueries(f *testing.F) {
	f.Add([]byte("a\x1b[cb\x1b]11;?\x07\x1bP$qm\x1b\\"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts Queries
		want := whole.Strip(nil, b)
		cut = min(max(cut, 0), len(b))
		got := parts.Strip(parts.Strip(nil, b[:cut]), b[cut:])
		if !bytes.Equal(got, want) || len(whole.held) > maxHeld {
			t.Fatalf("%q cut at %d: %q, want %q", b, cut, got, want)
		}
	})
}
