package vt

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
				if d := difference(ours.dump("", true), ref.ask(t, *snapshotOf(ours))[0]); d != "" {
					t.Fatalf("the snapshot after %d bytes: %s", end, d)
				}
			}
		})
	}
}

// In origin mode a cursor outside the scroll region, as leaving the alternate screen leaves
// it, is where it is also in a redraw.
func TestReferenceBeyondTheRegion(t *testing.T) {
	ref := startReference(t)
	for _, output := range []string{
		"\x1b[3;4r\x1b[?47h\x1b[?6h\x1b[1;2H\x1b[?47l", "ab\x1b[3;4r\x1b[?6h\x1b[?47h\x1b[6;1H\x1b[?47l",
		"abc\x1b[3;4r\x1b[?6h\x1b[?47h\x1b[1;3Hx\x1b[?47l", "\x1b[3;4r\x1b[?6h\x1b[?47h\x1b[6;20Hx\x1b[?47l",
	} {
		v := New(20, 6, Options{})
		v.Write([]byte(output))
		if !v.beyond() {
			t.Errorf("%q: not outside", output)
		}
		for _, redraw := range [][]byte{v.Snapshot(100), v.Screen()} {
			q := request{Cols: 20, Rows: 6, Scrollback: 100, Plain: true, Steps: []step{write(redraw)}}
			if d := difference(v.dump("", true), ref.ask(t, q)[0]); d != "" {
				t.Errorf("%q: %s\n%q", output, d, redraw)
			}
		}
	}
}

// TestReferenceLeftMargin redraws lines that end where a wide character had no room:
// who goes back over that column in reverse wrap, or makes the screen narrower, sees
// whether a space is there.
func TestReferenceLeftMargin(t *testing.T) {
	ref := startReference(t)
	for _, c := range []struct {
		cols, rows int
		output     string
		after      string
		narrower   int
	}{
		{12, 8, "~~\x1b[1m\x1b[9aᄨ", "", 0},
		{12, 8, "~~\x1b[1;44m\x1b[9aᄨ", "", 0},
		{12, 8, "~~\x1b[44m\x1b[9aᄨ", "", 0},
		{12, 8, "~~\x1b[9aᄨ", "", 0},
		{12, 8, "\x1b[4m1234567890aᄨ", "", 0},
		{12, 8, "\x1b]8;;http://h/\x1b\\~~\x1b[9aᄨ", "", 0},
		{12, 8, "\x1b[7m\x1b[11aᄨᄨᄨᄨᄨ\x1b[2mᄨᄨ", "", 0},
		{12, 8, "\x1b[1m\x1b[11aᄨ\r\x1b[4mᄨ", "", 0},
		{12, 8, "\x1b[1m\x1b[11aᄨ\r\x1b[mab", "", 0},
		{12, 8, "\x1b[1m\x1b[11aᄨ\r\x1b[K", "", 0},
		{12, 8, "\x1b[1;44m\x1b[11aᄨ\x1b[45m\r\x1b[2X", "", 0},
		{12, 8, "\x1b[8;1H\x1b[1;44m\x1b[11aᄨ\r\x1b[45mab", "", 0},
		{12, 8, "\x1b[8;1H\x1b[1;44m\x1b[11aᄨ\r\x1b[m\x1b[K", "", 0},
		{12, 8, "\x1b[8;1H\x1b[44m\x1b[11aᄨ\r\x1b[45mab", "", 0},
		{12, 1, "12345678901ᄨ\rab", "", 0},
		{12, 1, "\x1b[1m12345678901ᄨ\rab", "", 0},
		{6, 5, "\x1b[1m12345ᄨ\x1b[A\n\x1b[m\rxy\r\nend", "", 5},
		{6, 5, "\x1b[1m12345ᄨ\x1b[A\n\x1b[m\rxy\r\nend", "", 4},
		{6, 5, "\x1b[1;44m1234漢ᄨ\x1b[A\x1b[6G\x1b[K\x1b[1m\x1b[6Gᄨ\x1b[A\n\x1b[m\rxy", "", 5},
		{6, 5, "\x1b[1m123\x1b[6Gᄨ\x1b[A\n\x1b[m\rxy\r\nend", "", 5},
		{6, 5, "\x1b[1m12345ᄨ\x1b[A\n\x1b[m\r123456xy", "\x1b[2;1H\x1b[M", 0},
		{6, 5, "\x1b[5;1H\x1b[1m12345ᄨ\x1b[A\x1b[J\x1b[4m12345ᄨ\x1b[M", "", 5},
		{2, 3, "\x1b[1ma漢\r\n", "", 0},
		{2, 7, "\x1b[1mabc漢\x1b[2K", "", 5},
		{3, 3, "\x1b[1m漢漢漢\x1b[ A", "", 2},
		{3, 3, "\x1b[1m1漢漢\x1b[2K", "", 5},
	} {
		v := New(c.cols, c.rows, Options{})
		v.Write([]byte(c.output))
		redraws := [][]byte{v.Snapshot(100)}
		if c.rows > 1 { // of less no redraw goes without a scrollback
			redraws = append(redraws, slices.Concat([]byte(c.output), v.Screen()))
		}
		for _, redraw := range redraws {
			after := []byte(c.after + "\x1b[?45h\r\b\bx")
			w := New(c.cols, c.rows, Options{})
			w.Write([]byte(c.output))
			steps := []step{write(redraw), write(after)}
			if c.narrower > 0 {
				w.Resize(c.narrower, c.rows)
				steps = slices.Insert(steps, 1, resize(c.narrower, c.rows))
			}
			w.Write(after)
			q := request{Cols: c.cols, Rows: c.rows, Scrollback: 100, Plain: true, Steps: steps}
			if d := difference(w.dump("", true), ref.ask(t, q)[0]); d != "" {
				t.Errorf("%d × %d, %q: %s\n%q", c.cols, c.rows, c.output, d, redraw)
			}
		}
	}
}

// TestReferenceHiddenCursor redraws while a program has the alternate screen; then the
// window becomes lower, as a phone's does with its keyboard, and the program ends.
func TestReferenceHiddenCursor(t *testing.T) {
	ref := startReference(t)
	for _, output := range []string{"$ vim\r\n\x1b[?1049h\x1b[Hedited", "a\r\nb\r\n$ \x1b[?47h\x1b[8;3Hlow", "\x1b[8;20Hx\x1b[?1049h"} {
		v := New(20, 8, Options{})
		v.Write([]byte(output))
		for _, redraw := range [][]byte{v.Snapshot(100), slices.Concat([]byte(output), v.Screen())} {
			after := []byte("\x1b[?1049l.")
			w := New(20, 8, Options{})
			w.Write([]byte(output))
			w.Resize(20, 4)
			w.Write(after)
			q := request{Cols: 20, Rows: 8, Scrollback: 100, Plain: true, Steps: []step{write(redraw), resize(20, 4), write(after)}}
			if d := difference(w.dump("", true), ref.ask(t, q)[0]); d != "" {
				t.Errorf("%q: %s\n%q", output, d, redraw)
			}
		}
	}
}

// TestReferenceScreen redraws an xterm.js that stands at an earlier moment, be it in
// the middle of a sequence: nothing of what it missed is missing on its screen.
func TestReferenceScreen(t *testing.T) {
	var redrawn atomic.Int64
	t.Cleanup(func() { enough(t, "screens were redrawn", redrawn.Load()) })
	spread(t, func(t *testing.T, ref *reference, from uint64, n int) (failures int) {
		var nows []*Terminal
		var seeds []uint64
		var redrawing []request
		for seed := from; seed < from+uint64(n); seed++ {
			q := generated(seed, false)
			q.Scrollback = -1
			now, _ := q.run()
			if !now.measures() {
				continue
			}
			stale := staleOf(q, rand.New(rand.NewPCG(3, seed)))
			stale.Steps = append(stale.Steps, write(now.Screen()))
			nows, seeds, redrawing = append(nows, now), append(seeds, seed), append(redrawing, stale)
		}
		for i, theirs := range ref.ask(t, redrawing...) {
			now := nows[i]
			if strings.HasPrefix(theirs, "xterm.js failed") {
				continue
			}
			redrawn.Add(1)
			if d := difference(now.dump("", true), theirs); d != "" {
				failures++
				t.Errorf("seed %d: %s\n%s\n screen %q", seeds[i], d, redrawing[i], now.Screen())
			}
		}
		return failures
	})
}

// staleOf is a case that has not gone to its end, nor its last step to its own.
func staleOf(q request, r *rand.Rand) request {
	stale := request{Cols: q.Cols, Rows: q.Rows, Plain: true, Steps: []step{}}
	stale.Steps = append(stale.Steps, q.Steps[:r.IntN(len(q.Steps)+1)]...)
	if n := len(stale.Steps); n > 0 {
		b := mustDecode(*stale.Steps[n-1].Write)
		stale.Steps[n-1] = write(b[:r.IntN(len(b)+1)])
	}
	return stale
}
