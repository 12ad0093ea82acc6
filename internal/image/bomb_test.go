package image

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// zeros gives n zeros and notes how many were taken.
type zeros struct{ n, taken int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.taken >= z.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), z.n-z.taken)]
	clear(p)
	z.taken += int64(len(p))
	return len(p), nil
}

// What follows a tar's end costs no disk; it is read for its sum, as far as a
// layer's stream may go.
func TestALayersStreamHasAnEnd(t *testing.T) {
	u := newUnpacker(nil, &budget{limits: Limits{Bytes: 1<<20 - streamExtra}})
	z := &zeros{n: 64 << 20}
	_, err := u.content(context.Background(), z, true)
	refused(t, tooLong(err), "image_too_big")
	if z.taken > 2<<20 {
		t.Errorf("%s were read", Bytes(z.taken))
	}
}

// A packed archive is unpacked to a file before it is read: a bomb fills no disk.
func TestAPackedArchiveHasAnEnd(t *testing.T) {
	s := newStore(t, Options{Limits: Limits{Bytes: 1 << 20}})
	f, err := os.Open(write(t, "a.gz", gz(t, make([]byte, 1<<20+1))))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = s.spool(t.Context(), f)
	refused(t, err, "image_too_big")
	onlyThese(t, s)
}

// A zstd stream says how much memory it wants (RFC 8878, 3.1.1.1.2).
func TestAPackedStreamGetsNoMoreMemoryThanUsual(t *testing.T) {
	for exponent, fits := range map[byte]bool{17: true, 18: false} { // 128 and 256 MiB
		stream := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 9, 0, 0, 'x'} // one block of one byte
		r, err := decompress(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if fits != (err == nil && string(b) == "x") {
			t.Errorf("a window of 2^%d KiB: %q %v", exponent, b, err)
		}
		r.Close()
	}
}

// A registry that sends more than the manifest says is not listened to.
func TestPullTakesNoMoreThanTheManifestSays(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	ref := h.push(t, "a:1", img)
	layer := strings.TrimPrefix(layerOf(t, img), "blobs/sha256/")
	var sent atomic.Int64
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.URL.Path, layer) {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusOK)
		for chunk := make([]byte, 1<<20); sent.Load() < 256<<20; sent.Add(1 << 20) { // no end, as far as a test may go
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	s := newStore(t, Options{})
	_, err := s.Pull(t.Context(), "x", ref, quick, nil)
	refused(t, err, "wrong_digest")
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%s were read of a layer of some MB", Bytes(n))
	}
	onlyThese(t, s)
}

// A link that becomes a folder is one from then on.
func TestUnpackForgetsLinksThatBecomeFolders(t *testing.T) {
	r := newRoom(t)
	_, err := r.unpack(t, Limits{}, tarOfEntries(t, dir("else"), symlink("d", "else"), file("d/a", "1"), dir("d"), file("d/b", "2")))
	if err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"else": "/", "else/a": "1", "d": "/", "d/b": "2"})
}
