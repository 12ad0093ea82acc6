package files

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPercentForm(t *testing.T) {
	for _, c := range []struct {
		path Path
		text string
	}{
		{"a/b.txt", "a/b.txt"},
		{"Grüße/日本 語", "Grüße/日本 語"},
		{"100%", "100%25"},
		{"%2e%2e", "%252e%252e"},
		{"caf\xe9", "caf%E9"},
		{"a\nb\x1b[31m\x7f", "a%0Ab%1B[31m%7F"},
		{"gnp\u202etxt.exe", "gnp%E2%80%AEtxt.exe"},
		{"\ufffd", "\ufffd"}, // the character itself, which is valid
		{"$(touch pwned)", "$(touch pwned)"},
	} {
		if got := c.path.String(); got != c.text {
			t.Errorf("%q is %q", c.path, got)
		}
		if back, err := ParsePath(c.text); err != nil || back != c.path {
			t.Errorf("%q is read as %q, %v", c.text, back, err)
		}
		var e Entry
		b, err := json.Marshal(Entry{Path: c.path})
		if err == nil {
			err = json.Unmarshal(b, &e)
		}
		if err != nil || e.Path != c.path {
			t.Errorf("through JSON %q is %q: %v", c.path, e.Path, err)
		}
	}
	for _, bad := range []string{"%", "%4", "%zz", "a%", "%+1"} {
		_, err := ParsePath(bad)
		want(t, err, "bad_path")
	}
	if p, err := ParsePath(""); err != nil || p != "." {
		t.Errorf("%q %v", p, err)
	}
}

// FuzzPath: whatever a name's bytes are, its percent form is inert text and
// stands for just these bytes; and whatever text is read, it is no way out.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"a/b", "%2e%2e/x", "..", "\xff\xfe", "%", "a\u202eb", "\ufffd%41", "/", "a//b", "x\x00y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := Path(s).String()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) {
			t.Fatalf("%q has the form %q", s, text)
		}
		if p, err := Path(s).Clean(); err == nil {
			if back, err := ParsePath(text); err != nil || back != p {
				t.Fatalf("%q comes back as %q, %v", s, back, err)
			}
		}
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(string(p), "/") {
			if part == "" || part == ".." || part == "." && p != "." || strings.Contains(part, "\x00") {
				t.Fatalf("%q is taken for %q", s, p)
			}
		}
		if back, err := ParsePath(p.String()); err != nil || back != p {
			t.Fatalf("%q: %q comes back as %q, %v", s, p, back, err)
		}
	})
}
