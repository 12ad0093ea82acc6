package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"staithe/internal/station"
)

// Progress says how far an import is. Bytes are of the layer as it comes
// (packed or not).
type Progress struct {
	Step   string // "downloading", "unpacking" or "writing to disk"
	Layer  int    // from 1
	Layers int
	Done   int64 // bytes of this layer
	Total  int64 // 0: not known
	Files  int64 // unpacked so far, of all layers
	Bytes  int64 // unpacked so far, of all layers
}

// Import makes an image of a file (an OCI layout or docker save archive, or the
// tar of a root file system, each plain or packed with gzip or zstd) or of a
// folder (an OCI layout or a root file system), and puts it in force under that
// name. Progress may be nil; it is called some ten times a second, from one
// goroutine. Whatever goes wrong, nothing is left behind and the version in
// force stays.
//
// Errors wrap station.ErrInvalid (not an image, hostile, of another platform),
// ErrNotFound (no such file), ErrNoSpace or ErrUnavailable (an account without
// ids for sandboxes).
func (s *Store) Import(ctx context.Context, name, path string, progress func(Progress)) (Image, error) {
	if err := CheckName(name); err != nil {
		return Image{}, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Image{}, err
	}
	if mustMap() {
		return s.mapped(ctx, job{Do: "import", Name: name, From: path}, progress)
	}
	src, err := s.openSource(ctx, path)
	if err != nil {
		return Image{}, err
	}
	defer src.close()
	return s.build(ctx, name, path, src, progress)
}

// build unpacks a source and puts it in force.
func (s *Store) build(ctx context.Context, name, from string, src *source, progress func(Progress)) (Image, error) {
	if src.digest != "" {
		if ok, err := s.adopt(name, src.digest); err != nil {
			return Image{}, err
		} else if ok {
			return s.done(name, true)
		}
	}
	st, err := s.newStage()
	if err != nil {
		return Image{}, err
	}
	defer st.discard()
	m, err := s.unpack(ctx, st, src, newMeter(progress))
	if err != nil {
		return Image{}, err
	}
	if err := checkRoot(st.root); err != nil {
		return Image{}, err
	}
	if src.digest == "" { // known only now
		if ok, err := s.adopt(name, m.Digest); err != nil {
			return Image{}, err
		} else if ok {
			return s.done(name, true)
		}
	}
	m.Source, m.Created, m.Platform, m.Config = from, time.Now().UTC().Truncate(time.Second), platform, src.config
	if err := s.commit(st, name, m); err != nil {
		return Image{}, diskFull(err)
	}
	return s.done(name, false)
}

// done sweeps, and returns what is in force now.
func (s *Store) done(name string, same bool) (Image, error) {
	if err := s.Sweep(); err != nil {
		return Image{}, fmt.Errorf("the image is in force, but older versions stay: %w", err)
	}
	img, err := s.Get(name)
	img.Same = same
	return img, err
}

func (s *Store) unpack(ctx context.Context, st *stage, src *source, m *meter) (Manifest, error) {
	b := &budget{limits: s.limits, disk: st.lock}
	if err := b.look(); err != nil {
		return Manifest{}, err
	}
	u := newUnpacker(st.root, b)
	digest := src.digest
	for i, l := range src.layers {
		m.layer(i+1, len(src.layers), max(l.size, 0))
		sum, err := u.apply(ctx, l, m)
		if err != nil {
			return Manifest{}, diskFull(err)
		}
		if digest == "" {
			digest = sum
		}
	}
	if err := u.finish(); err != nil {
		return Manifest{}, diskFull(err)
	}
	files, size, err := measure(st.root)
	if err != nil {
		return Manifest{}, err
	}
	m.step("writing to disk")
	return Manifest{Digest: digest, Size: size, Files: files, LeftOut: u.leftOut}, nil
}

// measure counts what is there in the end: layers replace and remove.
func measure(root *os.Root) (files, size int64, err error) {
	seen := map[uint64]bool{} // inodes with several names
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		files++
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("measure the image: %w", err)
	}
	return files, size, nil
}

// apply unpacks one layer and holds it against its sums. It returns the sum of
// the tar in it.
func (u *unpacker) apply(ctx context.Context, l layer, m *meter) (string, error) {
	r, err := l.open(m.into(ctx))
	if err != nil {
		return "", err
	}
	defer r.Close()
	m.step("unpacking")
	u.report = m.unpacked
	packed := newChecked(m.reader(r), l.size, l.digest != "")
	whole, err := u.content(ctx, packed, !l.plain)
	// What follows the end counts for the sums; and damage on the way is told from
	// an image that was made so.
	if err == nil {
		err = drain(packed)
	} else if l.digest != "" {
		_ = drain(packed) // the sum tells
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case l.digest != "" && packed.digest() != l.digest:
		return "", wrongDigest(l.digest)
	case err != nil:
		return "", tooLong(err)
	case l.diffID != "" && whole.digest() != l.diffID:
		return "", wrongDigest(l.diffID)
	case l.digest == "" && l.diffID == "" && !whole.ended():
		return "", brokenArchive(io.ErrUnexpectedEOF)
	}
	return whole.digest(), nil
}

// content unpacks what a layer holds, and reads it to its end.
func (u *unpacker) content(ctx context.Context, packed io.Reader, isLayer bool) (*checked, error) {
	plain, err := decompress(packed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	whole := newChecked(plain, u.budget.limits.Bytes+streamExtra, true)
	if err := u.tar(ctx, whole, isLayer); err != nil {
		return nil, err
	}
	return whole, drain(whole)
}

// drain reads the rest.
func drain(r io.Reader) error {
	if _, err := io.Copy(io.Discard, readerOnly{r}); err != nil {
		return brokenArchive(err)
	}
	return nil
}

// readerOnly hides what else a reader can do: a decompressor's WriteTo would
// pass the counting.
type readerOnly struct{ io.Reader }

// tooLong words a stream that is longer than it may be.
func tooLong(err error) error {
	if !errors.Is(err, errTooLong) { // as the cause, mostly
		return err
	}
	return station.Errorf(station.ErrInvalid, "image_too_big", "The image unpacks to more than the limit; the limit protects the disk.").Because(err)
}

// diskFull words what the disk says.
func diskFull(err error) error {
	var p *station.Problem
	if errors.As(err, &p) {
		return err
	}
	if isFull(err) {
		return station.Errorf(station.ErrNoSpace, "disk_full", "The disk that holds the images is full; make room and try again.").Because(err)
	}
	return err
}

// meter turns what happens into Progress. It is for one goroutine.
type meter struct {
	tell func(Progress)
	now  Progress
	last time.Time
}

// tellEvery is how often progress is told.
const tellEvery = 100 * time.Millisecond

func newMeter(tell func(Progress)) *meter {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &meter{tell: tell}
}

func (m *meter) layer(n, of int, size int64) {
	m.now.Layer, m.now.Layers, m.now.Total = n, of, size
}

func (m *meter) step(s string) {
	m.now.Step, m.now.Done = s, 0
	m.tell(m.now)
	m.last = time.Now()
}

func (m *meter) moved() {
	if t := time.Now(); t.Sub(m.last) >= tellEvery {
		m.last = t
		m.tell(m.now)
	}
}

func (m *meter) unpacked(files, bytes int64) {
	m.now.Files, m.now.Bytes = files, bytes
	m.moved()
}

// meterKey is where a layer that has to be fetched finds the meter.
type meterKey struct{}

func (m *meter) into(ctx context.Context) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// reader counts what is read.
func (m *meter) reader(r io.Reader) io.Reader { return &metered{r, m} }

type metered struct {
	r io.Reader
	m *meter
}

func (r *metered) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.m.now.Done += int64(n)
	r.m.moved()
	return n, err
}
