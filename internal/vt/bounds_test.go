package vt

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// takes is how many bytes of memory a terminal takes more after do.
func takes(t *testing.T, vt *Terminal, do func()) int64 {
	t.Helper()
	before := heap()
	do()
	after := heap()
	runtime.KeepAlive(vt)
	return after - before
}

// TestAbuse29_Resizes: what a resize unpacks is not kept, nor what has no room.
func TestAbuse29_Resizes(t *testing.T) {
	for _, c := range []struct {
		name, line string
		cols, to   int
		most       int64
	}{
		{"wider", strings.Repeat("text ", 30), 200, 201, 1 << 20},
		{"much wider", "a short line", 80, 1000, 1 << 20},
		{"narrow", strings.Repeat("words and more ", 60), 1000, 2, 4 << 20},
		{"clusters", strings.Repeat("e\u0301", 200), 200, 20, 8 << 20},
		{"clusters, narrow", strings.Repeat("e\u0301", 200), 200, 2, 8 << 20},
	} {
		vt := New(c.cols, 25, Options{})
		for range 2000 {
			vt.Write([]byte(c.line + "\r\n"))
		}
		if n := takes(t, vt, func() { vt.Resize(c.to, 25) }); n > c.most {
			t.Errorf("%s: %d KiB more after a resize", c.name, n>>10)
		}
		for range 2 {
			vt.Resize(c.cols, 25)
			vt.Resize(c.to, 25)
		}
		for y, l := range vt.normal.back.lines(0, vt.normal.base(), vt.styles) {
			for i := range l.clusters {
				if i >= len(l.cells) {
					t.Fatalf("%s: line %d of %d columns has a cluster at %d", c.name, y, len(l.cells), i)
				}
			}
		}
	}
}

// TestAbuse29_Wide: lines that take little do not take much because they are wide.
func TestAbuse29_Wide(t *testing.T) {
	fill := func(cols int) *Terminal {
		vt := New(cols, 2, Options{})
		vt.Write([]byte(strings.Repeat("a line\r\n", 20_000)))
		return vt
	}
	narrow, wide := fill(80), fill(MaxCols)
	for name, c := range map[string]struct {
		vt   *Terminal
		what func(*Terminal)
	}{
		"resize":   {narrow, func(vt *Terminal) { vt.Resize(MaxCols, 2) }},
		"lines":    {wide, func(vt *Terminal) { vt.Lines(10_000) }},
		"history":  {wide, func(vt *Terminal) { vt.History(1 << 20) }},
		"snapshot": {wide, func(vt *Terminal) { vt.Snapshot(10_000) }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.what(c.vt)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8*unpackedMost*3/2 {
			t.Errorf("%s: it took %d MiB", name, n>>20)
		}
		if lines := c.vt.Lines(10_000); len(lines) < 1000 || lines[0] != "a line" {
			t.Errorf("%s: %d lines, the first %q", name, len(lines), lines[0])
		}
	}
}

// TestAbuse29_OneLongLine: of a line as long as the scrollback only what has room is
// made when it is wrapped anew.
func TestAbuse29_OneLongLine(t *testing.T) {
	vt := New(1000, 25, Options{Scrollback: 1000})
	for range 1000 {
		vt.Write([]byte(strings.Repeat("0123456789", 100)))
	}
	vt.Write([]byte("\r\n")) // what the cursor is in is not wrapped anew
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	vt.Resize(2, 25)
	runtime.ReadMemStats(&after)
	// Unpacked it has 8 MB, and the columns of each of its 500,000 lines are counted.
	if n := after.TotalAlloc - before.TotalAlloc; n > 50<<20 {
		t.Errorf("%d MiB were needed", n>>20)
	}
	if lines := vt.Lines(1000); len(lines) != 1025 || lines[1022]+lines[1023]+lines[1024] != "6789" || lines[0] != "01" && lines[0] != "23" && lines[0] != "45" && lines[0] != "67" && lines[0] != "89" {
		t.Errorf("%d lines, %q to %q", len(lines), lines[0], lines[len(lines)-2:])
	}
}

// TestNarrowingKeepsTheNewest: what does not fit is the oldest, whatever paragraphs
// there are; what does is the same as with a scrollback that has room for all.
func TestNarrowingKeepsTheNewest(t *testing.T) {
	compared := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		small, large := New(20, 5, Options{Scrollback: 20 + r.IntN(100)}), New(20, 5, Options{Scrollback: 5000})
		for n := range 1 + r.IntN(60) {
			text := fmt.Sprintf("%d:%s\r\n", n, strings.Repeat("abc 漢e\u0301", r.IntN(1+r.IntN(150))))
			small.Write([]byte(text))
			large.Write([]byte(text))
		}
		begins := func(line string) bool { n, _, ok := strings.Cut(line, ":"); return ok && len(n) > 0 && len(n) < 3 }
		whole := begins(small.Lines(1 << 20)[0])
		cols := 6 + r.IntN(13)
		small.Resize(cols, 5)
		large.Resize(cols, 5)
		ours, all := small.Lines(1<<20), large.Lines(1<<20)
		if len(ours) > len(all) {
			t.Fatalf("seed %d: %d lines of %d", seed, len(ours), len(all))
		}
		from := 0
		if !whole { // the rest of what was cut before wraps elsewhere
			if from = slices.IndexFunc(ours, begins); from < 0 {
				continue
			}
		}
		compared += len(ours) - from
		for i := 1; i <= len(ours)-from; i++ {
			if want := all[len(all)-i]; ours[len(ours)-i] != want {
				t.Fatalf("seed %d, to %d columns: line %d from the end is %q, with room %q", seed, cols, i, ours[len(ours)-i], want)
			}
		}
	}
	if compared < 10_000 {
		t.Error(compared, "lines were compared")
	}
}

// TestAbuse29_Repeated: a few bytes do not have millions of characters printed.
func TestAbuse29_Repeated(t *testing.T) {
	for _, text := range []string{"x", "é", "界", "e" + strings.Repeat("\u0301", 127)} {
		vt := New(80, 24, Options{})
		vt.Write([]byte(text + "\x1b[2147483647b"))
		n := 0
		for _, line := range vt.Lines(10_000) {
			n += utf8.RuneCountInString(line)
		}
		if n > maxRepeat+200 || n < 80 {
			t.Errorf("%.4q is there %d times", text, n)
		}
	}
}

// TestAbuse29_RepeatedAgain: not many times either, here or where the output goes.
func TestAbuse29_RepeatedAgain(t *testing.T) {
	vt := New(80, 24, Options{})
	out := vt.Filter(nil, []byte(strings.Repeat("e\u0301\x1b[9999b", 3000)))
	n := 0
	for _, m := range regexp.MustCompile(`\[(\d+)b`).FindAllSubmatch(out, -1) {
		times, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		n += times
	}
	if most := maxRepeats / (8 * 2); n > most || n < most/2 {
		t.Errorf("it is repeated %d times", n)
	}
	if got := vt.Filter(nil, []byte("x\x1b[5b")); string(got) != "x\x1b[5b" {
		t.Errorf("and then %q", got)
	}
}

// TestAbuse29_Links: links that nothing shows are forgotten, and what is not kept of
// them takes no memory; and they are not looked for at each new one.
func TestAbuse29_Links(t *testing.T) {
	vt := New(80, 24, Options{})
	if n := takes(t, vt, func() {
		for i := range 20_000 {
			fmt.Fprintf(vt, "\x1b]8;a=%s;%d\az", strings.Repeat("p", 4000), i)
		}
	}); n > 16<<20 {
		t.Errorf("links with parameters take %d KiB", n>>10)
	}
	vt = New(80, 24, Options{})
	if n := takes(t, vt, func() {
		for i := range 100_000 {
			fmt.Fprintf(vt, "\x1b]8;id=%d;u\az", i)
		}
	}); n > 24<<20 { // the scrollback has as many cells with styles of their own, too
		t.Errorf("short links take %d KiB", n>>10)
	}
	if n := len(vt.links.byNumber); n*linkBytes > linkBytesMax+linkBytes {
		t.Errorf("%d links", n)
	}
	vt = New(80, 24, Options{})
	for i := range linkBytesMax / 4096 {
		fmt.Fprintf(vt, "\x1b]8;;%d%s\az\r\n", i, strings.Repeat("u", 3900))
	}
	looks := 0
	for i := range 5000 {
		limit := vt.links.limit
		vt.links.limit++ // a look sets it anew
		fmt.Fprintf(vt, "\x1b]8;;v%d\a", i)
		if vt.links.limit != limit+1 {
			looks++
		}
		vt.links.limit = limit
	}
	if looks > 3 {
		t.Errorf("unused links were looked for %d times", looks)
	}
}

// TestAbuse29_TitlesKeepNothing: of a long text only the part that is kept is.
func TestAbuse29_TitlesKeepNothing(t *testing.T) {
	var titles []string
	vt := New(80, 24, Options{Title: func(s string) { titles = append(titles, s) }})
	if n := takes(t, vt, func() {
		for range 100 {
			vt.Write([]byte("\x1b]0;" + strings.Repeat("t", 60_000) + "\a"))
		}
	}); n > 2<<20 {
		t.Errorf("100 titles of 4 KiB take %d KiB", n>>10)
	}
	runtime.KeepAlive(titles)
}

// TestAbuse29_Snapshots: a snapshot has a bound, whatever is drawn; the newest lines
// are in it.
func TestAbuse29_Snapshots(t *testing.T) {
	lines := func(text string) func(*Terminal) {
		return func(vt *Terminal) {
			for range 10_000 {
				vt.Write([]byte(text + "\r\n"))
			}
		}
	}
	for name, write := range map[string]func(vt *Terminal){
		"colours": func(vt *Terminal) {
			for i := range 10_000 {
				for x := range 200 {
					fmt.Fprintf(vt, "\x1b[38;2;%d;%d;%dmx", i%256, x, (i+x)%256)
				}
			}
		},
		"a long link": func(vt *Terminal) {
			fmt.Fprintf(vt, "\x1b]8;;http://h/%s\a", strings.Repeat("u", 4000))
			for range 5000 {
				vt.Write([]byte(strings.Repeat("x\x1b[41m\x1b[X\x1b[C\x1b[m", 90) + "\r\n"))
			}
		},
		"all flags": func(vt *Terminal) {
			for range 10_000 {
				vt.Write([]byte(strings.Repeat("\x1b[0;1;2;3;5;7;8;9;53;4:3;58;5;9;107m\x1b[1\"qx\x1b[31my", 100)))
			}
		},
		"words in colours":       lines(strings.Repeat("\x1b[32mword\x1b[m word ", 15)),
		"gaps":                   lines(strings.Repeat("漢\x1b[C", 66)),
		"gaps in a background":   lines("\x1b[41m\x1b[K" + strings.Repeat("b\x1b[2C", 66) + "\x1b[m"),
		"gaps in a wrapped line": lines("\x1b[41ma\x1b[m\x1b[K" + strings.Repeat("b\x1b[2C", 66) + "\x1b[200Gz"),
		"marks of their own":     lines(strings.Repeat("\u0301\x1b[m", 200)),
		"kept apart":             lines(strings.Repeat("\u0600\x1b[ma", 100)),
		"halves of flags":        lines(strings.Repeat("🇦\x1b[m", 100)),
		"empty in colours":       lines(strings.Repeat("\x1b[41m\x1b[X\x1b[C\x1b[42m\x1b[X\x1b[C", 99)),
		"two long links": func(vt *Terminal) {
			for range 100 {
				for i := range 100 {
					fmt.Fprintf(vt, "\x1b]8;id=%d;http://h/%s\axx", i%2, strings.Repeat("u", 4000))
				}
			}
		},
	} {
		vt := New(200, 50, Options{})
		write(vt)
		fmt.Fprint(vt, "\x1b]8;;\a\x1b[m\r\nthe newest")
		n := 0
		for _, line := range vt.Painted(10_000) {
			n += len(line)
		}
		if n > snapshotBack+screenLinks+1<<20 {
			t.Errorf("%s: painted lines of %d KiB", name, n>>10)
		}
		full, screen := vt.Snapshot(10_000), vt.Screen()
		most := snapshotBack + 1<<20
		if strings.Contains(name, "link") {
			most += snapshotLinks
		}
		if len(full) > most || len(screen) > 2*screenLinks+1<<20 {
			t.Errorf("%s: a snapshot of %d KiB, a screen of %d KiB", name, len(full)>>10, len(screen)>>10)
		}
		if history := vt.History(64 << 10); len(history) > 64<<10 || !strings.Contains(string(history), "the newest") {
			t.Errorf("%s: a history of %d KiB", name, len(history)>>10)
		}
		for _, draw := range [][]byte{full, screen} {
			again := New(200, 50, Options{})
			again.Write(draw)
			if ours, theirs := vt.Lines(0), again.Lines(0); strings.Join(ours, "\n") != strings.Join(theirs, "\n") {
				t.Errorf("%s: the screen is another", name)
			}
			if name == "words in colours" && &draw[0] == &full[0] && again.normal.base() != vt.normal.base() {
				t.Errorf("%s: %d of %d lines, though all of them have room", name, again.normal.base(), vt.normal.base())
			}
		}
	}
}

// TestAbuse29_Sizes: a terminal has a bound on its cells.
func TestAbuse29_Sizes(t *testing.T) {
	vt := New(1<<20, 1<<20, Options{})
	if cols, rows := vt.Size(); cols*rows > MaxCells || cols != MaxCols {
		t.Error(cols, rows)
	}
	vt.Resize(1000, 4096)
	if cols, rows := vt.Size(); cols*rows > MaxCells || cols != 1000 {
		t.Error(cols, rows)
	}
}

// TestAbuse29_Controls: controls in a sequence that does not end are not kept.
func TestAbuse29_Controls(t *testing.T) {
	vt := New(80, 24, Options{})
	vt.Write([]byte("\x1b["))
	for range 100 {
		vt.Write(make([]byte, 64<<10))
	}
	if n := cap(vt.parser.instead); n > 256<<10 {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestAHistoryDrawsTheSame: what is kept of a terminal looks as it did, wherever lines
// wrap, and asks and switches nothing.
func TestAHistoryDrawsTheSame(t *testing.T) {
	vt := New(20, 6, Options{})
	fmt.Fprint(vt, "\x1b]0;title\a\x1b[?2004h\x1b[1mbold\x1b[0m and a line that wraps twice, at least \x1b[31m漢字\x1b[m\r\n")
	fmt.Fprint(vt, strings.Repeat("x", 19)+"漢 \x1b]8;;http://h\alink\x1b]8;;\a\r\n")
	for i := range 30 {
		fmt.Fprintf(vt, "\x1b[4%dmline %d\x1b[K\x1b[m\r\n", i%8, i)
	}
	fmt.Fprint(vt, "$ vim\r\n\x1b[?1049h\x1b[2Jdrawn by vim")
	history := vt.History(64 << 10)
	again := New(20, 6, Options{Title: func(string) { t.Error("a title") }, Answer: func(b []byte) { t.Errorf("an answer: %q", b) }})
	again.Write(history)
	fmt.Fprint(vt, "\x1b[?1049l")
	ours, theirs := vt.Painted(100), again.Painted(100)
	ours = ours[:len(ours)-1] // the empty one that the cursor is in
	for len(theirs) > len(ours) {
		theirs = theirs[:len(theirs)-1]
	}
	before := strings.ReplaceAll(strings.Join(ours, "\n"), "\x1b]8;;http://h\x1b\\\x1b[0mlink\x1b]8;;\x1b\\\x1b[0m", "link")
	if before != strings.Join(theirs, "\n") {
		t.Errorf("before\n%q\nafter\n%q", ours, theirs)
	}
	if again.modes.paste || again.Alternate() || strings.Contains(string(history), "drawn") {
		t.Errorf("%q", history)
	}
	for _, limit := range []int{0, 1, 10, 100, 300} {
		if n := len(vt.History(limit)); n > limit {
			t.Errorf("%d bytes of at most %d", n, limit)
		}
	}
}

// TestHalfAWideCharacter: what a narrower screen cuts in half can be looked at.
func TestHalfAWideCharacter(t *testing.T) {
	vt := New(20, 5, Options{})
	vt.Write([]byte("xxxxxxxxx漢"))
	vt.Resize(10, 5)
	for name, got := range map[string]string{"lines": vt.Lines(0)[0], "painted": vt.Painted(0)[0], "history": string(vt.History(100))} {
		if !strings.HasPrefix(strings.ReplaceAll(got, "\x1b[0m", ""), "xxxxxxxxx") {
			t.Errorf("%s: %q", name, got)
		}
	}
	vt.Snapshot(10)
	vt.Screen()
}
