package files

import (
	"errors"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

// A regular expression that takes long on a long line keeps to the search's time,
// or is refused.
func TestAbuse37_ASearchKeepsItsTime(t *testing.T) {
	b := newBench(t)
	b.put("long", strings.Repeat("a", 2<<20)+"\n"+strings.Repeat("ab", 1<<20)+"\n")
	for _, expr := range []string{
		`(?:(?:a|b|[c-e]|f|g|h|i|j|k|l|m|n|o|p){1,40}){1,20}Z`, `(a?){900}a{100}Z`, `(?:.{1,30}){30}Z`, `(.*)(.*)(.*)(.*)(.*)Z`, strings.Repeat(".*a", 300) + "Z",
		"(?:" + strings.Repeat("a|", 400) + "b){1000}Z",
	} {
		begun := time.Now()
		done, err := b.SearchContent(t.Context(), ".", Query{Text: expr, Regexp: true, Time: 200 * time.Millisecond}, func(Match) error { return nil })
		took := time.Since(begun)
		if took > 5*time.Second {
			t.Errorf("%.60s took %v", expr, took)
		}
		if err != nil && !errors.Is(err, station.ErrInvalid) {
			t.Error(err)
		}
		t.Logf("%.40s: %v %+v %v", expr, took, done, err)
	}
	// In a long line the place is the same as in a short one.
	b.put("x/line", strings.Repeat("\xffü", 300)+"needle12")
	found := 0
	if _, err := b.SearchContent(t.Context(), "x", Query{Text: `e{2}dle\d+$`, Regexp: true}, func(m Match) error {
		if found++; m.Column != 902 || !strings.HasSuffix(m.Text, "needle12") {
			t.Errorf("%+v", m)
		}
		return nil
	}); err != nil || found != 1 {
		t.Errorf("%d %v", found, err)
	}
	// What people look for is not refused.
	for _, expr := range []string{`func \(s \*[A-Za-z]+\) [a-z]\w*\(`, `\b[0-9a-f]{40}\b`, `^\s*(?:import|from)\s+[\w.]{1,80}`} {
		if _, err := b.SearchContent(t.Context(), ".", Query{Text: expr, Regexp: true}, func(Match) error { return nil }); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if _, err := b.SearchContent(t.Context(), ".", Query{Text: strings.Repeat("ä", 500)}, func(Match) error { return nil }); err != nil {
		t.Error(err)
	}
}
