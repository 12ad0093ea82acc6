package e2e

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/wire"
)

// stalled is a silence that the server may have taken for that of a client that is
// asleep: after a second, by its own clock.
const stalled = 700 * time.Millisecond

const (
	floodHead  = "ready\n"
	floodEnd   = "end\n"
	floodChunk = 10_000 // lines
)

// floodSink knows what a flood of numbered lines has at every offset, so that a byte
// lost or doubled shows, and what a redraw passed over, which says where it goes on,
// does not look like one.
type floodSink struct {
	*muxtest.Sink
	stream atomic.Pointer[muxclient.Stream]

	// All under the sink's lock.
	pos     int64
	passed  int64 // bytes that redraws stood for
	wrong   string
	tail    []byte // from floodEnd on
	last    time.Time
	silence time.Duration // the longest in which nothing came
}

func (f *floodSink) heard() {
	f.silence = max(f.silence, time.Since(f.last))
	f.last = time.Now()
}

func (f *floodSink) Reset(n int64) {
	var at int64 // where the stream goes on
	if st := f.stream.Load(); st != nil {
		at = st.Offset()
	}
	f.Do(func() {
		f.heard()
		f.passed += at - f.pos
		f.pos = at
	})
	f.Sink.Reset(n)
}

func (f *floodSink) Output(p []byte, what muxclient.Kind) {
	if what == muxclient.Redraw {
		f.Sink.Output(p, what)
		return
	}
	f.Do(func() {
		f.heard()
		for len(p) > 0 && f.wrong == "" {
			n := f.match(p)
			p, f.pos = p[n:], f.pos+int64(n)
		}
	})
}

// match takes what belongs at this offset from p.
func (f *floodSink) match(p []byte) int {
	if len(f.tail) > 0 {
		f.tail = append(f.tail, p...)
		return len(p)
	}
	line, at := floodHead, f.pos
	if f.pos >= int64(len(floodHead)) {
		n := f.pos - int64(len(floodHead))
		line, at = fmt.Sprintf("%09d\n", n/10+1), n%10
		if at == 0 && p[0] == floodEnd[0] && n/10%floodChunk == 0 {
			f.tail = append(f.tail, p...)
			return len(p)
		}
	}
	want := line[at:]
	n := min(len(want), len(p))
	if string(p[:n]) != want[:n] {
		f.wrong = fmt.Sprintf("at offset %d came %q, want %q", f.pos, p[:n], want[:n])
	}
	return n
}

// TestForcedDropsInAFlood drops the way to the shell while a program writes as fast as
// it can. Each byte that comes is the one that belongs at its offset, and each typed byte
// arrives once. A client that says nothing for a second is live by the contract, and may then be
// redrawn: nobody else is.
func TestForcedDropsInAFlood(t *testing.T) {
	const drops, typedLen = 60, 60 * 4096
	s := serve(t)
	p := startProxy(t, strings.TrimPrefix(s.base, "http://"))
	c := s.muxAt(p.addr(), "main")
	script := fmt.Sprintf(`stty raw -echo; printf '%s'; (i=1; while [ ! -e stop ]; do seq -f %%09.0f $i $((i+%d)); i=$((i+%d)); done) &
		head -c %d > typed; touch stop; wait; printf '%s'; head -c 1 > /dev/null; sha256sum < typed; exit 7`,
		`ready\n`, floodChunk-1, floodChunk, typedLen, `end\n`)
	out := &floodSink{Sink: muxtest.New(), last: time.Now()}
	st, err := c.Open(t.Context(), wire.Open{Command: []string{"/bin/sh", "-c", script}, Cols: 80, Rows: 24}, out)
	if err != nil {
		t.Fatal(err)
	}
	out.stream.Store(st)
	out.Until(t, "ready", func() bool { return out.pos >= int64(len(floodHead)) })
	rnd := rand.New(rand.NewPCG(3, 1))
	typed := make([]byte, typedLen)
	for i := range typed {
		typed[i] = byte(rnd.Uint32())
	}
	for i := range drops {
		if _, err := st.Write(typed[i*typedLen/drops : (i+1)*typedLen/drops]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Welcome(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := st.Offset() + rnd.Int64N(4<<20)
		out.Until(t, "output", func() bool { return out.wrong != "" || len(out.tail) > 0 || out.pos > want || rnd.IntN(200) == 0 })
		switch k := rnd.IntN(20); {
		case k == 0:
			s.kill()
			s.again()
		case k < 10:
			p.cut()
		default:
			c.Drop()
		}
	}
	out.Until(t, "the flood's end", func() bool {
		return out.wrong != "" || len(out.tail) >= len(floodEnd) || strings.Contains(out.Redrawn.String(), strings.TrimSpace(floodEnd))
	})
	out.Do(func() { // what comes from here on is no flood, also where a redraw stood for its end
		if len(out.tail) == 0 {
			out.tail = []byte(floodEnd)
		}
	})
	if _, err := st.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	out.WaitExit(t)
	if out.wrong != "" {
		t.Fatal(out.wrong)
	}
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(typed)); !strings.HasSuffix(string(out.tail), want) || out.Exited.Code != 7 {
		t.Errorf("it ended with %q, want %q; exit %+v", out.tail, want, out.Exited)
	}
	if out.Resets > 0 && out.silence < stalled {
		t.Errorf("%d redraws, of %d bytes, of a client that was never silent for longer than %v", out.Resets, out.passed, out.silence)
	}
	t.Logf("%d MB, %d redraws, of %d bytes; the longest silence was %v", out.pos>>20, out.Resets, out.passed, out.silence)
}
