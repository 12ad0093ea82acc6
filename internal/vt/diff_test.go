package vt

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	sequences = flag.Int("sequences", usual(), "generated sequences that each test compares with xterm.js; STAITHE_SEQUENCES is another default")
	seed      = flag.Uint64("seed", 1, "of the first generated sequence")
)

func usual() int {
	if n, err := strconv.Atoi(os.Getenv("STAITHE_SEQUENCES")); err == nil {
		return n
	}
	return 400
}

// batch is how many sequences are compared at a time.
const batch = 200

// generated is one random case. It has two rows at least: with a single one
// xterm.js loses the character that becomes too wide for the margin, and a snapshot does not
// say that it goes on with a line above.
func generated(seed uint64, resizes bool) request {
	r := rand.New(rand.NewPCG(seed, 77))
	g := generator{r}
	q := request{Cols: 2 + r.IntN(24), Rows: 2 + r.IntN(7), Scrollback: []int{1, 5, 100}[r.IntN(3)]}
	if resizes {
		// xterm.js mixes lines up when a full scrollback is wrapped at fewer columns:
		// its ring is written before its beginning.
		q.Scrollback = 2000
	}
	for range 1 + r.IntN(4) {
		for text := g.bytes(1 + r.IntN(20)); len(text) > 0; {
			n := len(text)
			if r.IntN(3) == 0 { // cut anywhere, also in a sequence or a character
				n = 1 + r.IntN(n)
			}
			q.Steps = append(q.Steps, write(text[:n]))
			text = text[n:]
			if resizes && r.IntN(2) == 0 {
				q.Steps = append(q.Steps, resize(2+r.IntN(24), 2+r.IntN(7)))
			}
		}
	}
	return q
}

// run does the steps of a request.
func (q request) run() (t *Terminal, answers string) {
	var b strings.Builder
	t = New(q.Cols, q.Rows, Options{Scrollback: q.Scrollback, Answer: func(p []byte) { b.Write(p) }})
	for _, s := range q.Steps {
		s.apply(t)
	}
	return t, b.String()
}

func (q request) String() string {
	out := fmt.Sprintf("%dx%d scrollback %d", q.Cols, q.Rows, q.Scrollback)
	for _, s := range q.Steps {
		if s.Resize != nil {
			out += fmt.Sprintf("\n  resize %v", *s.Resize)
			continue
		}
		t := recorder{}
		t.take(s)
		out += fmt.Sprintf("\n  write %+q", t.text)
	}
	return out
}

// spread has as many references as there are processors do batches of sequences at
// the same time, until all are done or one has seen five differences. do returns how
// many its batch has: of the sequences from a seed on.
func spread(t *testing.T, do func(t *testing.T, ref *reference, from uint64, n int) int) {
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		t.Run(fmt.Sprint("worker", w), func(t *testing.T) {
			t.Parallel()
			ref := startReference(t)
			for at, failures := w*batch, 0; at < *sequences && failures < 5; at += workers * batch {
				failures += do(t, ref, *seed+uint64(at), min(batch, *sequences-at))
			}
		})
	}
}

// enough says how many of the sequences were compared; it is an error when most were not.
func enough(t *testing.T, what string, n int64) {
	t.Logf("%d of %d %s", n, *sequences, what)
	if !t.Failed() && n < int64(*sequences)*3/4 {
		t.Error("these are too few")
	}
}

// compare runs cases on both and says where they differ.
func compare(t *testing.T, resizes bool) {
	var compared atomic.Int64
	t.Cleanup(func() { enough(t, "sequences compared; in the others xterm.js itself failed", compared.Load()) })
	spread(t, func(t *testing.T, ref *reference, from uint64, n int) (failures int) {
		var qs []request
		for i := range n {
			qs = append(qs, generated(from+uint64(i), resizes))
		}
		for i, theirs := range ref.ask(t, qs...) {
			if strings.HasPrefix(theirs, "xterm.js failed") {
				continue
			}
			compared.Add(1)
			vt, answers := qs[i].run()
			if d := difference(vt.dump(answers, asItIs), theirs); d != "" {
				failures++
				t.Errorf("seed %d: %s", from+uint64(i), reduce(t, ref, qs[i]))
			}
		}
		return failures
	})
}

func TestReferenceGenerated(t *testing.T) { compare(t, false) }

func TestReferenceResized(t *testing.T) { compare(t, true) }

// TestReferenceSnapshot feeds our snapshots to a fresh xterm.js, and to each second
// one what comes after: that a state is the same shows in what is made of it.
func TestReferenceSnapshot(t *testing.T) {
	var compared atomic.Int64
	t.Cleanup(func() {
		enough(t, "snapshots compared; in the others a charset was restored that nothing brings", compared.Load())
	})
	spread(t, func(t *testing.T, ref *reference, from uint64, n int) (failures int) {
		var qs, back []request
		var ours []string
		var seeds []uint64
		for i := range n {
			seed := from + uint64(i)
			q := generated(seed, i%2 == 0)
			q.Scrollback = 2000
			if i%4 > 1 {
				r := rand.New(rand.NewPCG(seed, 79))
				q.After = generator{r}.bytes(5)
				if r.IntN(2) == 0 {
					q.Then = new(resize(2+r.IntN(24), 2+r.IntN(7)))
				}
			}
			dump, again := q.restored()
			if again == nil {
				continue
			}
			qs, seeds, ours, back = append(qs, q), append(seeds, seed), append(ours, dump), append(back, *again)
		}
		compared.Add(int64(len(back)))
		for i, theirs := range ref.ask(t, back...) {
			if strings.HasPrefix(theirs, "xterm.js failed") {
				continue
			}
			if d := difference(ours[i], theirs); d != "" {
				failures++
				t.Errorf("seed %d: %s", seeds[i], reduceSnapshot(t, ref, qs[i]))
			}
		}
		return failures
	})
}

// restored does the steps of a request, and returns what brings a fresh terminal to
// the same; nil: that cannot be drawn (see drawable).
func (q request) restored() (dump string, again *request) {
	vt, _ := q.run()
	if !vt.drawable() {
		return "", nil
	}
	again, how := snapshotOf(vt), asDrawn
	if len(q.After) > 0 && vt.foretold() {
		after := q.After
		if !vt.rejoinable() {
			after = append([]byte("\x1b[?9999h"), after...) // nothing joins after a sequence
		}
		if q.Then != nil && vt.resizable() {
			again.Steps = append(again.Steps, *q.Then)
			q.Then.apply(vt)
		}
		again.Steps = append(again.Steps, write(after))
		vt.Write(after)
		how = alike
	}
	return vt.dump("", how), again
}

// foretold says whether a snapshot brings also what shows only later. Known
// differences: a sequence that has begun, which is sent after it; a saved cursor that
// is not on the screen; an alternate screen that scrolls back since a resize; a link
// or an underline that does not count, but will after the next SGR 4 or link, as DECRC
// leaves it; the empty last column of the alternate screen while the cursor is behind
// it, or a charset restored by DECRC there; and what a line holds but does not show: a wide
// character cut in half, columns of a wider screen. What comes next does not join (see
// rejoinable) to what was inserted (IRM), to a wide character that had no room with wraparound
// off, to what is not exact, and to a cluster longer than is kept.
func (t *Terminal) foretold() bool {
	for _, b := range []*buffer{t.normal, t.alt} {
		y := b.saved.y - b.base()
		if b.saved != (savedCursor{}) && (b.saved.x >= t.cols || y < 0 || y >= t.rows) || b == t.alt && b.max > t.rows {
			return false
		}
		for _, l := range slices.Concat(b.back.lines(0, b.base(), t.styles), b.rows) {
			for i := range min(len(l.cells), t.cols) {
				if !t.exact(l, i) {
					return false
				}
			}
		}
		for _, l := range b.rows {
			if len(l.cells) != t.cols || !l.whole() {
				return false
			}
		}
	}
	if t.restored() && t.Alternate() && t.b.x == t.cols {
		return false
	}
	a := t.attr
	under := a.ext&underlineMask != 0
	hidden := (a.fg&underline != 0) != under || a.bg&extended == 0 && (a.link != 0 || under)
	return !t.Pending() && !hidden && !t.behind(t.b.row())
}

// resizable says whether a snapshot brings also what shows only after a resize. Known
// differences: tab stops behind the right margin; and an empty cell of a style that
// erasing does not give, as half of a wide character leaves it that was written over,
// which is a space in a snapshot unless it is in the last column; and clusters that no
// cell shows any more, which xterm.js may show again.
func (t *Terminal) resizable() bool {
	for x := t.cols; x < MaxCols; x++ {
		if t.normal.tab(x) || t.alt.tab(x) {
			return false
		}
	}
	for _, l := range slices.Concat(t.normal.back.lines(0, t.normal.base(), t.styles), t.normal.rows) {
		if len(l.stale(len(l.cells))) > 0 || !l.whole() { // see foretold, which looks at the screen alone
			return false
		}
		for _, c := range l.cells[:min(len(l.cells), t.cols-1)] {
			if c.width() == 1 && !c.content() && !erasable(t.styles.of(c).seen()) {
				return false
			}
		}
	}
	return true
}

// whole says whether each half of a wide character has its other.
func (l *line) whole() bool {
	wide := false
	for _, c := range l.cells {
		if c.stub() != wide {
			return false
		}
		wide = c.width() == 2
	}
	return !wide
}

// drawable says whether all can be drawn. A known difference: a charset in force that was
// restored (DECRC) on the one screen while the other is shown, whose saved one is another.
func (t *Terminal) drawable() bool {
	return !t.restored() || t.charset == t.b.saved.charset
}

// exact says whether a cell is drawn as it is. Known differences: a cluster whose text takes
// other columns than its cell, as xterm.js leaves it when it wraps lines anew, when a mark
// follows a resize, or when, with wraparound off, it drops a wide character at the margin and
// joins what follows to the one before; such a cluster as maxCluster leaves it; a wide character
// without its second half, or whose second half has another style. What is drawn of them takes
// their columns (see drawn), in the style of the first.
func (t *Terminal) exact(l *line, i int) bool {
	c := l.cells[i]
	if !c.content() {
		return !c.stub() || i > 0 && l.cells[i-1].width() == 2 && l.cells[i-1].style() == c.style()
	}
	text, columns := t.drawn(l, i)
	return text == l.text(i) && columns == c.width()
}

func snapshotOf(vt *Terminal) *request {
	return &request{Cols: vt.cols, Rows: vt.rows, Scrollback: 2000, Plain: true, Steps: []step{write(vt.Snapshot(2000))}}
}

func reduceSnapshot(t *testing.T, ref *reference, q request) string {
	var snapshot string
	out := shrink(q, func(q request) string {
		ours, again := q.restored()
		if again == nil {
			return ""
		}
		snapshot = again.String()
		return difference(ours, ref.ask(t, *again)[0])
	})
	return fmt.Sprintf("%s\n then %+q\n snapshot %s", out, q.After, snapshot)
}

type recorder struct{ text string }

func (r *recorder) take(s step) {
	b := make([]byte, 0)
	b = append(b, mustDecode(*s.Write)...)
	r.text = string(b)
}

// reduce makes a case that differs small.
func reduce(t *testing.T, ref *reference, q request) string {
	return shrink(q, func(q request) string {
		theirs := ref.ask(t, q)[0]
		if strings.HasPrefix(theirs, "xterm.js failed") {
			return ""
		}
		vt, answers := q.run()
		return difference(vt.dump(answers, asItIs), theirs)
	})
}

// shrink takes away what a case can do without and still differ.
func shrink(q request, differs func(request) string) string {
	for again := true; again; {
		again = false
		for i := range q.Steps {
			less := q
			less.Steps = append(append([]step{}, q.Steps[:i]...), q.Steps[i+1:]...)
			if differs(less) != "" {
				q, again = less, true
				break
			}
		}
		for i := 0; i < len(q.Steps) && !again; i++ {
			if q.Steps[i].Write == nil {
				continue
			}
			b := mustDecode(*q.Steps[i].Write)
			for size := max(len(b)/2, 1); size > 0 && !again; size /= 2 {
				for from := 0; from+size <= len(b); from += size {
					less := q
					less.Steps = append([]step{}, q.Steps...)
					less.Steps[i] = write(append(append([]byte{}, b[:from]...), b[from+size:]...))
					if differs(less) != "" {
						q, again = less, true
						break
					}
				}
			}
		}
	}
	return q.String() + "\n" + differs(q)
}
