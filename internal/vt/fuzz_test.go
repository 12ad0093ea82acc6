package vt

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzTerminal: nothing panics, whatever is written and however it is resized, and
// a snapshot always comes out.
func FuzzTerminal(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(generator{r}.bytes(10), generator{r}.bytes(10), uint8(20), uint8(5), uint8(7), uint8(3))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, cols, rows, newCols, newRows uint8) {
		vt := New(int(cols), int(rows), Options{Scrollback: 50, Answer: func([]byte) {}})
		vt.Filter(nil, a)
		vt.Snapshot(10)
		vt.Resize(int(newCols), int(newRows))
		vt.Lines(100)
		vt.Filter(nil, b)
		vt.Resize(int(cols), int(rows))
		vt.Snapshot(100)
		vt.Screen()
		vt.Lines(100)
		vt.Painted(100)
		vt.History(1000)
	})
}

// FuzzFilter: however output is cut, what is passed on asks nothing, and draws the same.
func FuzzFilter(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 4))
	for range 50 {
		f.Add(generator{r}.bytes(10), r.Uint64(), r.IntN(10_000))
	}
	f.Fuzz(func(t *testing.T, in []byte, chance uint64, long int) {
		r := rand.New(rand.NewPCG(chance, 1))
		if long > 0 && len(in) > 0 { // a character many times, as in a long string
			at := r.IntN(len(in))
			in = slices.Concat(in[:at], bytes.Repeat(in[at:at+1], min(long, passAfter+500)), in[at:])
		}
		in = append(bytes.Clone(in), "\x18end"...)
		out, answers, ours := filter(in, func(int) bool { return r.IntN(3) == 0 })
		if _, whole, _ := filter(in, func(int) bool { return false }); whole != answers {
			t.Fatalf("answers %q, in one piece %q", answers, whole)
		}
		rest, asked, theirs := filter(out, func(int) bool { return false })
		if asked != "" || !bytes.Equal(rest, out) {
			t.Fatalf("what is passed on asks for %q, and %q of %q is left", asked, rest, out)
		}
		if d := difference(ours.dump("", asItIs), theirs.dump("", asItIs)); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzHistory: whatever a program wrote, drawn again it asks nothing and switches
// nothing, and is not longer than it may be.
func FuzzHistory(f *testing.F) {
	effects := regexp.MustCompile(`\x1b(\[[^A-Za-z@` + "`" + `]*[cnpqtuxyhlri]|[\]PX^_cZ=>#%78]|\[[<=>?!])|[\x05\x07\x0e]`)
	r := rand.New(rand.NewPCG(1, 5))
	for range 50 {
		f.Add(generator{r}.bytes(20), uint16(r.IntN(2000)))
	}
	f.Fuzz(func(t *testing.T, in []byte, limit uint16) {
		vt := New(20, 5, Options{})
		vt.Filter(nil, in)
		got := vt.History(int(limit))
		if bad := effects.Find(got); bad != nil || len(got) > int(limit) || !utf8.Valid(got) {
			t.Errorf("%q of %q keeps %q; %d bytes of %d", got, in, bad, len(got), limit)
		}
	})
}

// fuzzedMost bounds what FuzzReference draws at a time, in bytes.
const fuzzedMost = 4 << 10

// FuzzReference compares what comes of any bytes, cut anywhere, with xterm.js, and
// again after our snapshot went into a fresh one, and a part of the bytes after it.
func FuzzReference(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	for range 50 {
		f.Add(generator{r}.bytes(20), r.Uint64(), r.IntN(2) == 0)
	}
	files, err := filepath.Glob("testdata/corpus/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for part := range slices.Chunk(text, fuzzedMost) {
			f.Add(part, r.Uint64(), r.IntN(2) == 0)
		}
	}
	ref := startReference(f)
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true" // what makes cases small itself
	f.Fuzz(func(t *testing.T, text []byte, chance uint64, resizes bool) {
		q := cut(slowless(text[:min(len(text), fuzzedMost)]), chance, resizes)
		theirs := ref.ask(t, q)[0]
		if strings.HasPrefix(theirs, "xterm.js failed") {
			return
		}
		vt, answers := q.run()
		if d := difference(vt.dump(answers, asItIs), theirs); d != "" {
			if !fuzzing {
				d = reduce(t, ref, q)
			}
			t.Fatal(d)
		}
		q = q.halved(chance)
		ours, again := q.restored()
		if again == nil {
			return
		}
		theirs = ref.ask(t, *again)[0]
		if strings.HasPrefix(theirs, "xterm.js failed") {
			return
		}
		if d := difference(ours, theirs); d != "" {
			if !fuzzing {
				d = reduceSnapshot(t, ref, q)
			}
			t.Fatal("the snapshot: ", d)
		}
	})
}

// halved has the last step of a case come after the snapshot, now and then.
func (q request) halved(chance uint64) request {
	if n := len(q.Steps); n > 1 && chance%3 == 0 && q.Steps[n-1].Write != nil {
		q.Steps, q.After = q.Steps[:n-1], mustDecode(*q.Steps[n-1].Write)
	}
	return q
}

// slowless takes digits away that are more than three in one number: xterm.js counts
// some down one by one.
func slowless(text []byte) []byte {
	digits := 0
	return slices.DeleteFunc(slices.Clone(text), func(b byte) bool {
		switch {
		case b >= '0' && b <= '9':
			digits++
			return digits > 3
		case b >= ':' && b <= '~' || b == 0x1b || b >= 0x80:
			digits = 0
		}
		return false
	})
}

// cut makes a case of a text: in pieces, of some size, with resizes between them.
func cut(text []byte, chance uint64, resizes bool) request {
	r := rand.New(rand.NewPCG(chance, 78))
	q := request{Cols: 2 + r.IntN(24), Rows: 2 + r.IntN(7), Scrollback: 2000, Steps: []step{}}
	for len(text) > 0 {
		n := min(len(text), 1+r.IntN(1+r.IntN(len(text))))
		q.Steps = append(q.Steps, write(bytes.Clone(text[:n])))
		text = text[n:]
		if resizes && r.IntN(2) == 0 {
			q.Steps = append(q.Steps, resize(2+r.IntN(24), 2+r.IntN(7)))
		}
	}
	return q
}
