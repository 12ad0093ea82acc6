package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/files"
)

// script reads changes such as "+a" (create), "~a" (modify), "-a" (delete), ".a"
// (attrib), "a>b" (move), "a/>b" (move of a folder).
func script(h *home, text string) {
	for _, w := range strings.Fields(text) {
		if from, to, ok := strings.Cut(w, ">"); ok {
			name, dir := strings.CutSuffix(from, "/")
			h.tell(change{kind: Move, from: files.Path(name), at: files.Path(to), dir: dir})
			continue
		}
		kind := map[byte]string{'+': Create, '~': Modify, '-': Delete, '.': Attrib}[w[0]]
		h.tell(change{kind: kind, at: files.Path(w[1:])})
	}
}

func newScripted(below files.Path) (*home, *Stream) {
	h := &home{sinks: map[sink]struct{}{}}
	s := newStream(&Watcher{homes: map[string]*home{}}, h, below)
	h.sinks[s] = struct{}{}
	return h, s
}

func TestOnlyWhatCountsInTheEndIsTold(t *testing.T) {
	for _, c := range []struct{ below, changes, want string }{
		{".", "+a ~a .a", "create a"},
		{".", "+a ~a -a", ""},
		{".", "~a -a", "delete a"},
		{".", ".a ~a .a", "modify a"},
		{".", "-a +a", "modify a"},
		{".", "~a ~a ~b", "modify a, modify b"},
		{".", "a>b", "move a to b"},
		{".", "+a a>b", "create b"},
		{".", "a>b b>c", "move a to c"},
		{".", "a>b b>a", "modify a"},
		{".", "a>b -b", "delete a"},
		{".", "a>b ~b +a", "modify a, create b"},
		{".", "+t ~t t>a", "create a"},
		{".", "-b a>b", "modify b, delete a"},
		{".", "a>b +a a>c", "move a to b, create c"},
		{".", "~d/x d/>e", "move d to e, modify e/x"},
		{".", "+d +d/x d/>e ~e/x", "create e, create e/x"},
		{".", "d/>e ~e/x e/>f", "move d to f, modify f/x"},
		{".", "+.local/share/staithe/staging/x .local/share/staithe/staging/x>a", "create a"},
		{".", "a>.local/share/staithe/staging/x -.local/share/staithe/staging/x", "delete a"},
		{"s", "~a ~s/a ~sa ~s", "modify s/a, modify s"},
		{"s", "a>s/a s/b>b s/c>s/d", "create s/a, delete s/b, move s/c to s/d"},
		{"s/t", "s/>u", "delete s/t"},
		{"s/t", "u/>s", "create s/t"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, s := newScripted(files.Path(c.below))
			script(h, c.changes)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			b, err := s.Next(ctx)
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			got, want := told(b.Events), strings.Split(c.want, ", ")
			if c.want == "" {
				want = nil
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: told %q, want %q", c.changes, got, want)
			}
		})
	}
}

// A batch comes 75 ms after its first change, and not later because more comes.
func TestWhatBelongsTogetherComesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newScripted(".")
		begun := time.Now()
		go func() {
			for i := range 40 {
				script(h, fmt.Sprintf("~f%d", i%3))
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for i := range 4 {
			b, err := s.Next(t.Context())
			if err != nil || len(b.Events) != 3 || b.Seq != uint64(i+1) {
				t.Fatalf("%+v %v", b, err)
			}
			if late := time.Since(begun) - time.Duration(i+1)*80*time.Millisecond; late > 10*time.Millisecond {
				t.Errorf("batch %d came %v late", i, late)
			}
		}
		time.Sleep(time.Second)
	})
}

// A stream that nobody reads keeps a bounded number of paths, holds nobody up, and
// says afterwards that it lost some; then it goes on.
func TestAStreamThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newScripted(".")
		read := newStream(s.w, h, "sub")
		h.sinks[read] = struct{}{}
		for i := range 3 * mostPending {
			h.tell(change{kind: Create, at: files.Path(fmt.Sprint("f", i))})
			if n := len(s.set) + len(s.order); n > 3*mostPending {
				t.Fatalf("%d are kept", n)
			}
		}
		script(h, "~sub/x")
		if b, err := read.Next(t.Context()); err != nil || b.Overflow || len(b.Events) != 1 {
			t.Errorf("the other stream has %+v, %v", b, err)
		}
		b, err := s.Next(t.Context())
		if err != nil || !b.Overflow || b.Events != nil || b.Seq != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		script(h, "~a")
		if b, err = s.Next(t.Context()); err != nil || b.Overflow || len(b.Events) != 1 || b.Seq != 2 {
			t.Errorf("afterwards: %+v, %v", b, err)
		}
		// The same name again and again takes no room.
		for range 10 * mostPending {
			script(h, "+t -t")
		}
		if len(s.order) > 2*mostPending+1 || s.lost {
			t.Errorf("%d are kept of what came and went, lost %v", len(s.order), s.lost)
		}
	})
}

// Nor does it keep much where the paths are as long as can be.
func TestAbuse37_LongPathsThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newScripted(".")
		long := files.Path(strings.Repeat(strings.Repeat("d", 250)+"/", 15))
		for i := range mostPending {
			at := files.Path(fmt.Sprint("top/", long, i))
			h.tell(change{kind: Create, at: at})
			kept := 0
			for _, p := range s.order {
				kept += len(p)
			}
			if kept > 2*mostPaths || s.bytes > mostPaths {
				t.Fatalf("%d bytes of paths are kept", kept)
			}
			if s.lost {
				break
			}
			if i%100 == 0 { // what is moved is counted as it is then
				h.tell(change{kind: Move, from: "top", at: "other", dir: true})
				h.tell(change{kind: Move, from: "other", at: "top", dir: true})
			}
			sum := 0
			for p := range s.set {
				sum += len(p)
			}
			if sum != s.bytes {
				t.Fatalf("%d bytes are counted as %d", sum, s.bytes)
			}
		}
		if b, err := s.Next(t.Context()); err != nil || !b.Overflow {
			t.Errorf("%d events, %v", len(b.Events), err)
		}
		script(h, "~a")
		if b, err := s.Next(t.Context()); err != nil || len(b.Events) != 1 {
			t.Errorf("afterwards: %+v, %v", b, err)
		}
	})
}

func TestACounterCountsPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{sinks: map[sink]struct{}{}}
		c := newCounter(&Watcher{homes: map[string]*home{}}, h)
		h.sinks[c] = struct{}{}
		if got := c.Peek(); got != (Tally{}) {
			t.Errorf("at first: %+v", got)
		}
		begun := time.Now()
		script(h, "~a ~a +b ~b +t -t")
		time.Sleep(time.Second)
		script(h, "-c d>e +x x>y")
		<-c.Changed()
		want := Tally{Paths: 5, Since: begun, Last: time.Now()} // a b c e y
		if got := c.Take(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := c.Peek(); got != (Tally{}) {
			t.Errorf("after it was taken: %+v", got)
		}
		select {
		case <-c.Changed():
			t.Error("something changed")
		default:
		}
		c.overflow()
		if got := c.Take(); !got.Overflow || got.Since.IsZero() {
			t.Errorf("%+v", got)
		}
	})
}

// A stream says how late it may be, also when watches are used up while it is read.
func TestLate(t *testing.T) {
	for source, late := range map[string]bool{"inotify": false, "looks": true} {
		y := newYard(t, source)
		s := y.stream(".")
		if got := s.Late(); (got > 0) != late || got > 10*time.Second {
			t.Errorf("%s: %v", source, got)
		}
	}
	y := newYard(t, "inotify")
	y.watches = 3
	s := y.stream(".")
	if s.Late() != 0 {
		t.Fatal(s.Late())
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		y.must(os.Mkdir(y.at(name), 0o755))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.Late() == 0 {
		if _, err := s.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
