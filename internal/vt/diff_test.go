package vt

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
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
// xterm.js loses the character that becomes too wide for the margin.
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
		q.Steps = append(q.Steps, write(g.bytes(1+r.IntN(20))))
		if resizes && r.IntN(2) == 0 {
			q.Steps = append(q.Steps, resize(2+r.IntN(24), 2+r.IntN(7)))
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

// compare runs a case on both and says where they differ.
func compare(t *testing.T, ref *reference, resizes bool) {
	failures, broken := 0, 0
	for at := 0; at < *sequences && failures < 5; at += batch {
		var qs []request
		for i := range batch {
			qs = append(qs, generated(*seed+uint64(at+i), resizes))
		}
		for i, theirs := range ref.ask(t, qs...) {
			if strings.HasPrefix(theirs, "xterm.js failed") {
				broken++
				continue
			}
			vt, answers := qs[i].run()
			if d := difference(vt.dump(answers, false), theirs); d != "" {
				failures++
				small := reduce(t, ref, qs[i])
				t.Errorf("seed %d: %s", *seed+uint64(at+i), small)
			}
		}
	}
	t.Logf("%d sequences; xterm.js itself failed in %d", *sequences, broken)
}

func TestReferenceGenerated(t *testing.T) { compare(t, startReference(t), false) }

func TestReferenceResized(t *testing.T) { compare(t, startReference(t), true) }

// TestReferenceSnapshot feeds our snapshots to a fresh xterm.js.
func TestReferenceSnapshot(t *testing.T) {
	ref := startReference(t)
	failures, mixed := 0, 0
	for at := 0; at < *sequences && failures < 5; at += batch {
		var qs, back []request
		var ours []string
		for i := range batch {
			q := generated(*seed+uint64(at+i), i%2 == 0)
			q.Scrollback = 2000
			vt, _ := q.run()
			if !vt.measures() {
				mixed++
				continue
			}
			qs = append(qs, q)
			ours = append(ours, vt.dump("", true))
			back = append(back, snapshotOf(vt))
		}
		for i, theirs := range ref.ask(t, back...) {
			if d := difference(ours[i], theirs); d != "" {
				failures++
				t.Errorf("seed about %d: %s", *seed+uint64(at+i), reduceSnapshot(t, ref, qs[i]))
			}
		}
	}
	t.Logf("%d sequences; in %d a resize had mixed clusters up as in xterm.js", *sequences, mixed)
}

// measures says whether all cells can be drawn.
func (t *Terminal) measures() bool {
	for _, b := range []*buffer{t.normal, t.alt} {
		for _, l := range slices.Concat(b.back.lines(0, b.base(), t.styles), b.rows) {
			for i := range l.cells {
				if !l.measures(i) {
					return false
				}
			}
		}
	}
	return true
}

func snapshotOf(vt *Terminal) request {
	return request{Cols: vt.cols, Rows: vt.rows, Scrollback: 2000, Plain: true, Steps: []step{write(vt.Snapshot(2000))}}
}

func reduceSnapshot(t *testing.T, ref *reference, q request) string {
	var snapshot request
	out := shrink(q, func(q request) string {
		vt, _ := q.run()
		if !vt.measures() {
			return ""
		}
		ours := vt.dump("", true)
		snapshot = snapshotOf(vt)
		return difference(ours, ref.ask(t, snapshot)[0])
	})
	return out + "\n snapshot " + snapshot.String()
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
		return difference(vt.dump(answers, false), theirs)
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
