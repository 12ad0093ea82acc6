package replay

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestLogAgainstPlainSlice writes random chunks and compares every answer with
// that of a slice that keeps everything.
func TestLogAgainstPlainSlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int{1, 7, 4096, 5000, 100_000} {
		l := New(limit)
		var all []byte
		for range 400 {
			chunk := make([]byte, rnd.IntN(min(limit*2, 9000)+1))
			for i := range chunk {
				chunk[i] = byte(rnd.Uint32())
			}
			all = append(all, chunk...)
			if end := l.Append(chunk); end != int64(len(all)) {
				t.Fatalf("limit %d: end %d, want %d", limit, end, len(all))
			}
			start, end := l.Bounds()
			if want := int64(max(0, len(all)-limit)); start != want || end != int64(len(all)) {
				t.Fatalf("limit %d: bounds %d–%d, want %d–%d", limit, start, end, want, len(all))
			}
			off := start + rnd.Int64N(end-start+1)
			p := make([]byte, rnd.IntN(5000))
			n, ok := l.ReadAt(p, off)
			if !ok || !bytes.Equal(p[:n], all[off:min(int(off)+len(p), len(all))]) {
				t.Fatalf("limit %d: wrong bytes at %d", limit, off)
			}
		}
	}
}

func TestReadOutsideIsRefused(t *testing.T) {
	l := New(10)
	l.Append([]byte("0123456789abc"))
	for _, off := range []int64{-1, 0, 2, 14} {
		if _, ok := l.ReadAt(make([]byte, 4), off); ok {
			t.Errorf("offset %d was read", off)
		}
	}
	if n, ok := l.ReadAt(make([]byte, 4), 13); n != 0 || !ok {
		t.Errorf("at the end: %d %v", n, ok)
	}
}

func TestIdleLogIsSmall(t *testing.T) {
	l := New(0)
	l.Append([]byte("ada@main:~$ "))
	if len(l.ring) > firstSize {
		t.Errorf("a prompt takes %d bytes", len(l.ring))
	}
}
