package bucket

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"staithe/internal/files"
	"staithe/internal/station"
)

const (
	batchBytes = 64 << 20
	batchNames = 256
	workers    = 8
	tries      = 4
	// block is what a name takes besides its bytes, at most.
	block = 4096
)

// Home is what an import writes to; transfer.Client is one.
type Home interface {
	// List gives what is in a folder; a folder that is not there is
	// station.ErrNotFound.
	List(ctx context.Context, p files.Path, hidden bool, each func(files.Entry) error) error
	// Extract unpacks a tar stream into a folder.
	Extract(ctx context.Context, p files.Path, tar io.Reader, replace bool, bytes, names int64) (files.Extracted, error)
}

// Options say what to import and where to.
type Options struct {
	From    Place
	To      Home
	Into    files.Path
	Replace bool              // what is there and differs goes to the trash; else it stays
	Listed  func(objects int) // hears how far the listing is; may be nil
	// Sent hears what came, and how much there is in all; may be nil.
	Sent func(files int, bytes, of int64)
}

// Result says what came of an import.
type Result struct {
	Files   int   // that came
	Bytes   int64 // of them
	Same    int   // that were there already
	Kept    []files.Path
	Refused []Refused
}

// importer is one import under way.
type importer struct {
	o  Options
	s  *store
	mu sync.Mutex
	r  Result
	of int64
}

// Import brings all objects into a home. What is there with the same size and time
// is not fetched again: an import that broke off goes on when it is run again.
func Import(ctx context.Context, o Options) (Result, error) {
	s, err := open(o.From)
	if err != nil {
		return Result{}, err
	}
	m := &importer{o: o, s: s}
	if o.Listed == nil {
		o.Listed = func(int) {}
	}
	objects, err := s.list(ctx, o.Listed)
	if err != nil {
		return m.r, err
	}
	list, refused, err := plan(o.From.Prefix, objects, func(key string) (bool, error) {
		about, err := s.meta(ctx, key)
		return about.target != "" || about.kind == typeLink, err
	})
	if err != nil {
		return m.r, err
	}
	m.r.Refused = refused
	there, err := m.there(ctx, list)
	if err != nil {
		return m.r, err
	}
	if list, err = m.missing(ctx, list, there); err != nil {
		return m.r, err
	}
	for _, e := range list {
		m.of += e.Size
	}
	err = each(ctx, batches(list), m.batch)
	return m.r, err
}

// each does all with a few at once; the first error ends it.
func each[T any](ctx context.Context, list []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for v := range next {
				if err := do(ctx, v); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, v := range list {
		select {
		case next <- v:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// there is what the home has in the folders that objects go to.
func (m *importer) there(ctx context.Context, list []planned) (map[files.Path]files.Entry, error) {
	seen := map[files.Path]bool{}
	var folders []files.Path
	for _, e := range list {
		if up := above(e.path); !seen[up] {
			seen[up] = true
			folders = append(folders, up)
		}
	}
	have := map[files.Path]files.Entry{}
	err := each(ctx, folders, func(ctx context.Context, folder files.Path) error {
		err := m.o.To.List(ctx, m.in(folder), true, func(e files.Entry) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			have[folder.Join(string(e.Name))] = e
			return nil
		})
		if errors.Is(err, station.ErrNotFound) || errors.Is(err, station.ErrConflict) || errors.Is(err, station.ErrForbidden) {
			return nil // not there, or no folder: what is to go there is told by the server
		}
		return err
	})
	return have, err
}

func (m *importer) in(p files.Path) files.Path {
	if m.o.Into.Home() {
		return p
	}
	if p.Home() {
		return m.o.Into
	}
	return m.o.Into + "/" + p
}

// missing leaves out what is there already. Listings carry no user metadata: of
// what may be there it is asked for.
func (m *importer) missing(ctx context.Context, list []planned, there map[files.Path]files.Entry) ([]planned, error) {
	same := make(map[files.Path]bool)
	var look []planned
	for _, e := range list {
		switch have, ok := there[e.path]; {
		case !ok:
		case e.dir && have.Kind == files.KindFolder:
			same[e.path] = true
		case !e.dir && (have.Kind == files.KindSymlink || have.Kind == files.KindFile && have.Size == e.Size):
			look = append(look, e)
		}
	}
	err := each(ctx, look, func(ctx context.Context, e planned) error {
		about, err := m.s.meta(ctx, e.Key)
		if err != nil {
			return err
		}
		have := there[e.path]
		m.mu.Lock()
		defer m.mu.Unlock()
		same[e.path] = have.Kind == files.KindSymlink && string(have.Target) == about.target ||
			have.Kind == files.KindFile && about.target == "" && have.MTime.Equal(when(about, e.Object))
		return nil
	})
	return slices.DeleteFunc(list, func(e planned) bool {
		if same[e.path] && !e.dir {
			m.r.Same++
		}
		return same[e.path]
	}), err
}

// when is a file's time: what its metadata says, else when it was written.
func when(about meta, o Object) time.Time {
	if !about.at.IsZero() {
		return about.at
	}
	return o.At
}

func batches(list []planned) (out [][]planned) {
	for len(list) > 0 {
		n, size := 0, int64(0)
		for n < len(list) && n < batchNames && (n == 0 || size+list[n].Size <= batchBytes) {
			size += list[n].Size
			n++
		}
		out = append(out, list[:n])
		list = list[n:]
	}
	return out
}

// batch brings some objects over, as one archive: all of them or none.
func (m *importer) batch(ctx context.Context, list []planned) (err error) {
	wait := time.Second
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			wait *= 3
		}
		var done bool
		if done, err = m.once(ctx, list); done || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// once tries it; done: to try again does not help.
func (m *importer) once(ctx context.Context, list []planned) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	size, folders := int64(0), map[files.Path]bool{}
	for _, e := range list {
		size += e.Size + block
		for up := above(e.path); up != "." && !folders[up]; up = above(up) {
			folders[up] = true
		}
	}
	pr, pw := io.Pipe()
	packed := make(chan error, 1)
	var bytes int64
	var refused []Refused
	go func() {
		err := m.pack(ctx, pw, list, &bytes, &refused)
		pw.CloseWithError(err)
		packed <- err
	}()
	got, err := m.o.To.Extract(ctx, m.o.Into, pr, m.o.Replace, size, int64(len(list)+len(folders)))
	cancel()
	pr.CloseWithError(errors.New("the server stopped reading"))
	if perr := <-packed; err != nil {
		if p, ok := errors.AsType[*station.Problem](perr); ok {
			return true, p
		}
		p, ok := errors.AsType[*station.Problem](err)
		return ok && !errors.Is(p, station.ErrUnavailable) && !errors.Is(p, station.ErrLimited) && p.Code != "bad_archive" && p.Code != "cut_off", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.r.Files += got.Files
	m.r.Bytes += bytes
	m.r.Kept = append(m.r.Kept, got.Told...)
	m.r.Refused = append(m.r.Refused, refused...)
	if m.o.Sent != nil {
		m.o.Sent(m.r.Files, m.r.Bytes, m.of)
	}
	return true, nil
}

// pack writes objects as a tar stream.
func (m *importer) pack(ctx context.Context, w io.Writer, list []planned, bytes *int64, refused *[]Refused) error {
	t := tar.NewWriter(w)
	for _, e := range list {
		if err := m.packOne(ctx, t, e, bytes, refused); err != nil {
			return fmt.Errorf("object %q: %w", e.path.String(), err)
		}
	}
	return t.Close()
}

func (m *importer) packOne(ctx context.Context, t *tar.Writer, e planned, bytes *int64, refused *[]Refused) error {
	h := &tar.Header{Name: string(e.path), Format: tar.FormatPAX}
	if e.dir {
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", 0o755
		return t.WriteHeader(h)
	}
	body, o, about, err := m.s.get(ctx, e.Key)
	if err != nil {
		return err
	}
	defer body.Close()
	h.ModTime = when(about, o)
	switch about.kind {
	case 0, typeFile, typeLink, typeDir:
	default:
		*refused = append(*refused, Refused{e.Key, "it is a device, a socket or a FIFO"})
		return nil
	}
	switch {
	case about.target != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, about.target
		return t.WriteHeader(h)
	case about.kind == typeLink:
		*refused = append(*refused, Refused{e.Key, "it is a link whose target is not said"})
		return nil
	case about.kind == typeDir && o.Size == 0:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", int64(about.mode|0o700)
		return t.WriteHeader(h)
	}
	h.Typeflag, h.Size, h.Mode = tar.TypeReg, o.Size, 0o644
	if about.mode != 0 {
		h.Mode = int64(about.mode)
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(t, body)
	*bytes += n
	if err == nil && n != o.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
