package restic

import (
	"strings"
	"testing"
)

// What restic prints is read without a fault, whatever it is: names in it are
// users'.
func FuzzOutput(f *testing.F) {
	f.Add(`{"message_type":"summary","files_new":1,"snapshot_id":"12345678"}`)
	f.Add(`{"message_type":"error","error":{"Op":"open","Path":"/home/x","Err":2},"item":"/home/x"}`)
	f.Add(`{"nodes":[{"name":"a\\xff","type":"dir","subtree":"00"}]}`)
	f.Add("Save(<data/1234>) returned error, retrying after 552ms: client.PutObject: we encountered an internal error")
	f.Fuzz(func(t *testing.T, text string) {
		var s Summary
		w := &lineWriter{each: func(line []byte) { backupLine(line, &s, nil) }}
		for part := range strings.SplitAfterSeq(text, "a") { // in pieces, as pipes give them
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		w.end()
		if len(s.Unread) > unreadMax {
			t.Error(len(s.Unread))
		}
		_, _ = parseTree([]byte(text))
		retrying(text)
		if err := problem("a place", text, nil); CodeOf(err) == "" {
			t.Errorf("no code: %v", err)
		}
	})
}

// A path's pattern matches no other path: what is special in patterns is escaped.
func FuzzPattern(f *testing.F) {
	f.Add("a [b]*?\\")
	f.Fuzz(func(t *testing.T, p string) {
		if strings.ContainsAny(p, "\x00\uFFFD") {
			t.Skip("no path, or one that is not known exactly")
		}
		got := Pattern(p)
		plain := strings.NewReplacer(`\\`, "", `\*`, "", `\?`, "", `\[`, "").Replace(got)
		if !strings.HasPrefix(got, Top) || strings.ContainsAny(plain, `*?[\`) {
			t.Errorf("%q: %q", p, got)
		}
	})
}
