package vt

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sizes of the recorded terminals that are not 80 × 24.
var corpusSizes = map[string][2]int{"tmux": {90, 28}, "htop": {100, 30}}

// TestReferenceCorpus compares what real programs wrote, cut anywhere, at many
// places in each, and feeds our snapshot of each place to a fresh xterm.js.
func TestReferenceCorpus(t *testing.T) {
	ref := startReference(t)
	files, err := filepath.Glob("testdata/corpus/*.bin")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	places := min(max(*sequences/20, 10), 200)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bin")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(*seed, uint64(len(text))))
			for range places {
				q := request{Cols: 80, Rows: 24, Scrollback: 2000, Steps: []step{}}
				if s, ok := corpusSizes[name]; ok {
					q.Cols, q.Rows = s[0], s[1]
				}
				end := len(text)
				if r.IntN(5) > 0 {
					end = r.IntN(len(text) + 1)
				}
				for rest := text[:end]; len(rest) > 0; {
					n := min(len(rest), 1+r.IntN(4000))
					q.Steps = append(q.Steps, write(rest[:n]))
					rest = rest[n:]
					if r.IntN(40) == 0 {
						q.Steps = append(q.Steps, step{Resize: &[2]int{20 + r.IntN(120), 5 + r.IntN(50)}})
					}
				}
				ours, answers := q.run()
				if d := difference(ours.dump(answers, false), ref.ask(t, q)[0]); d != "" {
					t.Fatalf("after %d bytes: %s", end, d)
				}
				if !ours.measures() {
					continue
				}
				if d := difference(ours.dump("", true), ref.ask(t, snapshotOf(ours))[0]); d != "" {
					t.Fatalf("the snapshot after %d bytes: %s", end, d)
				}
			}
		})
	}
}

// TestReferenceScreen redraws an xterm.js that stands at an earlier moment, be it in
// the middle of a sequence: nothing of what it missed is missing on its screen.
func TestReferenceScreen(t *testing.T) {
	ref := startReference(t)
	failures, redrawn := 0, 0
	for at := range *sequences {
		q := generated(*seed+uint64(at), false)
		r := rand.New(rand.NewPCG(*seed, uint64(at)))
		q.Scrollback = -1
		now, _ := q.run()
		if !now.measures() {
			continue
		}
		stale := request{Cols: q.Cols, Rows: q.Rows, Plain: true, Steps: []step{}}
		stale.Steps = append(stale.Steps, q.Steps[:r.IntN(len(q.Steps)+1)]...)
		if n := len(stale.Steps); n > 0 { // the last one not to its end
			b := mustDecode(*stale.Steps[n-1].Write)
			stale.Steps[n-1] = write(b[:r.IntN(len(b)+1)])
		}
		before := ref.ask(t, stale)[0]
		stale.Steps = append(stale.Steps, write(now.Screen()))
		theirs := ref.ask(t, stale)[0]
		if strings.HasPrefix(before, "xterm.js failed") || strings.HasPrefix(theirs, "xterm.js failed") {
			continue
		}
		redrawn++
		if d := difference(now.dump("", true), theirs); d != "" {
			if failures++; failures > 5 {
				break
			}
			t.Errorf("seed %d: %s\n%s\n screen %q", *seed+uint64(at), d, stale, now.Screen())
		}
	}
	t.Logf("%d screens were redrawn", redrawn)
}
