package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"
)

// FuzzUnpack gives anything to the unpacker, as two layers: whatever it makes of
// it, nothing outside the root is made, changed or removed.
func FuzzUnpack(f *testing.F) {
	seeds := [][]entry{
		{dir("a"), file("a/b", "x"), symlink("l", "a"), file("l/c", "y"), hardlink("h", "a/b")},
		{symlink("out", "../outside"), file("out/secret", "z"), file("out/.wh.secret", ""), file(".wh..wh..opq", "")},
		{file("../outside/secret", "x"), hardlink("h", "../outside/secret"), file(".wh...", "")},
		{symlink("s", "/"), symlink("s/t", "s"), dir("s/t/u"), file("s/t/u/v", ""), {name: "dev", kind: tar.TypeChar}},
		{dir("d"), symlink("d", "../../../.."), file("d/tmp", "x"), {name: "p", kind: tar.TypeFifo, uid: 70000}},
	}
	for _, s := range seeds {
		f.Add(tarOfEntries(f, s...), []byte{})
		f.Add(tarOfEntries(f, s...), tarOfEntries(f, seeds[0]...))
	}
	f.Add(sparse(f), []byte{})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		r := newRoom(t)
		abs := symlink("abs", filepath.Join(r.dir, "outside")) // no fuzzer guesses the path
		u := newUnpacker(r.root, &budget{limits: Limits{Bytes: 1 << 16, Files: 200, KeepFree: 1}.orDefault()})
		for _, layer := range [][]byte{tarOfEntries(t, abs), one, two} {
			if u.tar(context.Background(), bytes.NewReader(layer), true) != nil {
				break
			}
		}
		if err := u.finish(); err != nil {
			t.Log(err)
		}
		r.untouched(t)
	})
}

// FuzzFormats gives anything to what tells the formats apart and reads images:
// it ends, and does not panic.
func FuzzFormats(f *testing.F) {
	whole := tarOfEntries(f, dir("usr"), dir("etc"))
	f.Add(whole)
	f.Add(gz(f, whole))
	f.Add(zst(f, whole))
	img := ociImage(f, "amd64", whole)
	f.Add(tarOfDir(f, layoutOf(f, addendum(img, "amd64"))))
	f.Add(tarOfEntries(f, file("oci-layout", "{}"), file("index.json", `{"manifests":[{"digest":"sha256:00"}]}`)))
	f.Add(tarOfEntries(f, file("manifest.json", `[{"Config":"c","Layers":["l"]}]`), symlink("l", "l"), file("c", "{}")))
	s := newStore(f, Options{Limits: Limits{Bytes: 1 << 20, Files: 1000}})
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		src, err := s.openSource(ctx, write(t, "a", b))
		if err != nil {
			return
		}
		defer src.close()
		for _, l := range src.layers {
			r, err := l.open(ctx)
			if err != nil {
				return
			}
			if plain, err := decompress(r); err == nil {
				_, _ = io.CopyN(io.Discard, plain, 1<<20)
				plain.Close()
			}
			r.Close()
		}
	})
}
