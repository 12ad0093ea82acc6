package vt

import (
	"fmt"
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
				if d := difference(ours.dump(answers, asItIs), ref.ask(t, q)[0]); d != "" {
					t.Fatalf("after %d bytes: %s", end, d)
				}
				if !ours.drawable() {
					continue
				}
				if d := difference(ours.dump("", asDrawn), ref.ask(t, *snapshotOf(ours))[0]); d != "" {
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
			if d := difference(v.dump("", alike), ref.ask(t, q)[0]); d != "" {
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
		later := []step{write([]byte(c.after + "\x1b[?45h\r\b\bx"))}
		if c.narrower > 0 {
			later = slices.Insert(later, 0, resize(c.narrower, c.rows))
		}
		sameLater(t, ref, c.cols, c.rows, c.output, later...)
	}
}

// sameLater redraws what output makes, in a fresh xterm.js and in one that has it, and
// compares after what comes later.
func sameLater(t *testing.T, ref *reference, cols, rows int, output string, later ...step) {
	t.Helper()
	v, _ := request{Cols: cols, Rows: rows, Scrollback: 100, Steps: []step{write([]byte(output))}}.run()
	redraws := [][]byte{v.Snapshot(100)}
	if rows > 1 { // of less no redraw goes without a scrollback
		redraws = append(redraws, slices.Concat([]byte(output), v.Screen()))
	}
	for _, s := range later {
		s.apply(v)
	}
	for _, redraw := range redraws {
		q := request{Cols: cols, Rows: rows, Scrollback: 100, Plain: true, Steps: append([]step{write(redraw)}, later...)}
		if d := difference(v.dump("", alike), ref.ask(t, q)[0]); d != "" {
			t.Errorf("%d × %d, %q: %s\n%q", cols, rows, output, d, redraw)
		}
	}
}

// TestReferenceHiddenCursor redraws while a program has the alternate screen; then the
// window becomes lower, as a phone's does with its keyboard, and the program ends.
func TestReferenceHiddenCursor(t *testing.T) {
	ref := startReference(t)
	for _, output := range []string{"$ vim\r\n\x1b[?1049h\x1b[Hedited", "a\r\nb\r\n$ \x1b[?47h\x1b[8;3Hlow", "\x1b[8;20Hx\x1b[?1049h"} {
		sameLater(t, ref, 20, 8, output, resize(20, 4), write([]byte("\x1b[?1049l.")))
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
			if !now.drawable() {
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
			if d := difference(now.dump("", asDrawn), theirs); d != "" {
				failures++
				t.Errorf("seed %d: %s\n%s\n screen %q", seeds[i], d, redrawing[i], now.Screen())
			}
		}
		return failures
	})
}

// TestReferenceSqueezed redraws what xterm.js leaves in cells that it does not fit: the
// rest is in its place, nothing scrolls, and as much of it as has room is seen.
func TestReferenceSqueezed(t *testing.T) {
	ref := startReference(t)
	for _, c := range []struct {
		cols, rows int
		steps      []step
		row        int
		sees       string
	}{
		{8, 5, []step{write([]byte("top\r\ne\u0301❤\ufe0fok ok ❤\ufe0fe\u0301\r\n$ ")), resize(6, 5), write([]byte("\r\n1\r\n2"))}, 1, "ok ❤\ufe0f❤"},
		{7, 6, []step{write([]byte("漢ok 漢👩\u200de\u0301❤\ufe0fword e\n")), resize(5, 6), resize(9, 6)}, 1, " ❤\ufe0fword e"},
		{6, 2, []step{write([]byte("\x1b[?7labcde👍🏽\r\n"))}, 0, "abcde"},
		{6, 2, []step{write([]byte("\x1b[?7labcde👩\u200d👧\r\n"))}, 0, "abcde\u200d"},
		{6, 2, []step{write([]byte("\x1b[?7labcdef漢\u0301"))}, 0, "abcde\u0301f"},
		{7, 6, []step{write([]byte("漢ok 漢👩\u200de\u0301❤\ufe0fword e\n")), resize(5, 6), resize(9, 6), write([]byte("\x1b[1;8H\x1b[K\x1b[4;1H$ "))}, 1, " ❤\ufe0fword e"},
		{4, 4, []step{write([]byte("top\r\n" + strings.Repeat("\u0600", 128) + "漢xyz\r\nnext"))}, 2, "z"},
	} {
		q := request{Cols: c.cols, Rows: c.rows, Scrollback: 2000, Plain: true, Steps: c.steps}
		v, _ := q.run()
		screen := q
		screen.Steps = append(slices.Clone(q.Steps), write(v.Screen()))
		for i, theirs := range ref.ask(t, *snapshotOf(v), screen) {
			if d := difference(withoutBack(v.dump("", asDrawn)), withoutBack(theirs)); d != "" {
				t.Errorf("%s redraw %d: %s", q, i, d)
			}
		}
		for _, line := range v.Painted(0) {
			row := New(v.cols, v.rows, Options{})
			row.Write([]byte(line))
			if row.b.y > 0 {
				t.Errorf("%s: %+q takes more columns than there are", q, line)
			}
		}
		w := New(v.cols, v.rows, Options{})
		w.Write(v.Snapshot(100))
		if saw := w.Lines(0)[c.row]; saw != c.sees {
			t.Errorf("%s: %+q is seen, %+q should be", q, saw, c.sees)
		}
	}
}

// TestReferenceRestoredCharset has the cursor behind the last column while a charset is in
// force that DECRC brought, in which what stands there cannot be printed.
func TestReferenceRestoredCharset(t *testing.T) {
	ref := startReference(t)
	for output, after := range map[string]string{
		"\x1b(4\x1b7\x1b(B\x1b8\x1b[5G]":                                     "\r\n#@",
		"\x1b[1;5Hq\x1b(0\x1b7\x1b(B\x1b8\x1b[?47h\x1b[1;5Hx\x1b[?47l":       "\r\nqqq",
		"\x1b(0\x1b7\x1b(B\x1b8\x1b[2;4Hab":                                  "x",
		"\x1b(0\x1b7\x1b(B\x1b8\x1b[4mq\x1b[?47h\x1b[2;5Hx\x1b[?47l\x1b[31m": "x",
	} {
		sameLater(t, ref, 5, 3, output, write([]byte(after)))
	}
}

// TestReferenceText redraws text with clusters after resizes, where xterm.js leaves some in
// cells that they do not fit: what stands beside and below them is in its place, and
// nothing scrolls.
func TestReferenceText(t *testing.T) {
	var compared atomic.Int64
	t.Cleanup(func() { enough(t, "texts redrawn twice", compared.Load()) })
	spread(t, func(t *testing.T, ref *reference, from uint64, n int) (failures int) {
		var seeds []uint64
		var ours []string
		var redrawn []request
		for seed := from; seed < from+uint64(n); seed++ {
			q := text(seed)
			now, _ := q.run()
			if !now.drawable() {
				continue
			}
			screen := q
			screen.Plain = true
			screen.Steps = append(slices.Clone(q.Steps), write(now.Screen()))
			seeds = append(seeds, seed)
			ours = append(ours, now.dump("", asDrawn))
			redrawn = append(redrawn, *snapshotOf(now), screen)
		}
		for i, theirs := range ref.ask(t, redrawn...) {
			if strings.HasPrefix(theirs, "xterm.js failed") {
				continue
			}
			mine := ours[i/2]
			if i%2 == 1 {
				mine, theirs = withoutBack(mine), withoutBack(theirs)
				compared.Add(1)
			}
			d := difference(mine, theirs)
			if d != "" {
				failures++
				t.Errorf("seed %d, redraw %d: %s\n%s", seeds[i/2], i%2, d, text(seeds[i/2]))
			}
		}
		return failures
	})
}

// withoutBack is a dump without the lines of the scrollback.
func withoutBack(dump string) string {
	lines := strings.Split(dump, "\n")
	for i := range lines {
		var base int
		if n, _ := fmt.Sscanf(lines[i], "base %d ", &base); n == 1 {
			lines = slices.Delete(lines, i+1, min(i+1+base, len(lines)))
			break
		}
	}
	return strings.Join(lines, "\n")
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
