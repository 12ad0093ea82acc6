package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"staithe/internal/files"
	"staithe/internal/station"
)

// Download says where a file goes: to a name in an open folder, which nothing
// leads out of.
type Download struct {
	Root *os.Root
	Name string // from the root, with slashes
	// Got hears how many bytes of the file are here in all; it may be nil.
	Got func(n int64)
}

// Download fetches a file whole under its name, or leaves what was there. What
// came until a connection broke is kept beside it, also for another run of the
// program, and used when the file is still the same. seen is what is known of the
// file from its folder's list.
func (c *Client) Download(ctx context.Context, p files.Path, seen files.Entry, d Download) error {
	for range 5 {
		err := c.fetch(ctx, p, seen, d)
		if code(err) != "file_changed" {
			return err
		}
	}
	return station.Errorf(station.ErrConflict, "file_changed", "%s changes all the time; copy it when it rests.", Quote(string(p)))
}

func changed() error {
	return station.Errorf(station.ErrConflict, "file_changed", "The file was changed meanwhile.")
}

// fetch is one try for one content of the file.
func (c *Client) fetch(ctx context.Context, p files.Path, e files.Entry, d Download) (err error) {
	head, err := c.open(ctx, p, "", 0)
	if err != nil {
		return err
	}
	etag, size := head.Header.Get("ETag"), head.ContentLength
	mtime, merr := http.ParseTime(head.Header.Get("Last-Modified"))
	if etag == "" || size < 0 || merr != nil {
		head.Body.Close()
		return station.Errorf(station.ErrUnavailable, "bad_answer", "The server did not say how long the file is; try again.")
	}
	if e.Kind != files.KindFile || e.Size != size || !e.MTime.Truncate(time.Second).Equal(mtime) { // changed since, or a link
		if e, err = c.Stat(ctx, p); err != nil {
			head.Body.Close()
			return err
		}
	}
	if e.Kind == files.KindFile {
		mtime = e.MTime // to the nanosecond
	}
	part := path.Join(path.Dir(d.Name), partName(etag, d.Name))
	f, err := d.Root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		head.Body.Close()
		return local(err)
	}
	done := false
	defer func() {
		f.Close()
		if done || code(err) == "file_changed" || size <= atOnce {
			_ = d.Root.Remove(part) // gone when it got its name
		}
	}()
	if err := c.fill(ctx, p, f, head, etag, size, d); err != nil {
		return err
	}
	if size > oneRead {
		if err := c.still(ctx, p, etag); err != nil {
			return err
		}
	}
	mode := os.FileMode(0o644)
	if e.Kind == files.KindFile {
		mode = os.FileMode(e.Mode & 0o777)
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), d.Root.Chtimes(part, mtime, mtime)); err != nil {
		return local(err)
	}
	done = true
	return local(d.Root.Rename(part, d.Name))
}

// oneRead is up to how many bytes a server reads of a file at once. A longer one
// may have been written while it was read, and be half the old and half the new.
const oneRead = 32 << 10

// still is an error when a file has not the content with the ETag any more.
func (c *Client) still(ctx context.Context, p files.Path, etag string) error {
	err := c.repeat(ctx, func() error {
		res, err := c.send(ctx, http.MethodGet, filesRoute+"/content", named(p), http.Header{"If-Match": {etag}, "Range": {"bytes=0-0"}}, nil, 0)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.Header.Get("ETag") != etag {
			return changed()
		}
		return nil
	})
	if code(err) == "bad_range" {
		return changed()
	}
	return err
}

// partName is where a content of a file gathers.
func partName(etag, name string) string {
	sum := sha256.Sum256([]byte(etag + "\x00" + path.Base(name)))
	return ".staithe-" + hex.EncodeToString(sum[:8]) + ".part"
}

func isPart(name string) bool {
	return strings.HasPrefix(name, ".staithe-") && strings.HasSuffix(name, ".part")
}

// local is an error of this machine's files, without names as they are.
func local(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return fmt.Errorf("%s %s: %w", pe.Op, Quote(pe.Path), pe.Err)
	case errors.As(err, &le):
		return fmt.Errorf("%s %s: %w", le.Op, Quote(le.New), le.Err)
	}
	return err
}

// open asks for a file's bytes from an offset, of the content with the ETag.
func (c *Client) open(ctx context.Context, p files.Path, etag string, from int64) (res *http.Response, err error) {
	h := http.Header{}
	if etag != "" {
		h.Set("If-Match", etag)
		h.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	err = c.repeat(ctx, func() error {
		res, err = c.send(ctx, http.MethodGet, filesRoute+"/content", named(p), h.Clone(), nil, 0)
		return err
	})
	if code(err) == "file_changed" || code(err) == "bad_range" {
		return nil, changed()
	}
	return res, err
}

// fill brings what is missing in f, and tries again while bytes come. first is the
// answer to a request for all of it.
func (c *Client) fill(ctx context.Context, p files.Path, f *os.File, first *http.Response, etag string, size int64, d Download) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		first.Body.Close()
		return errors.Join(err, station.Errorf(station.ErrConflict, "not_a_file", "What is in the way of the download is no file; move it away."))
	}
	n := info.Size()
	if n > size {
		n = 0
	}
	if n > 0 || size == 0 { // some of it is here
		first.Body.Close()
		first = nil
	}
	if err := f.Truncate(n); err != nil {
		return local(err)
	}
	if _, err := f.Seek(n, io.SeekStart); err != nil {
		return local(err)
	}
	for a := (again{c: c}); n < size; {
		res := first
		if first = nil; res == nil {
			if res, err = c.open(ctx, p, etag, n); err != nil {
				return err
			}
			if res.StatusCode != http.StatusPartialContent || res.Header.Get("ETag") != etag ||
				!strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", n)) {
				res.Body.Close()
				return changed()
			}
		}
		m, rerr, werr := pour(f, io.LimitReader(res.Body, size-n), func(m int64) { d.got(n + m) })
		res.Body.Close()
		if n += m; m > 0 {
			a.moved()
		}
		if werr != nil {
			return local(werr)
		}
		if n < size {
			if rerr == nil {
				rerr = io.ErrUnexpectedEOF
			}
			if err := a.next(ctx, c.lost(ctx, rerr)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d Download) got(n int64) {
	if d.Got != nil {
		d.Got(n)
	}
}

// pour copies and tells reading errors from writing ones.
func pour(w io.Writer, r io.Reader, at func(int64)) (n int64, rerr, werr error) {
	buf := make([]byte, 256<<10)
	for {
		m, err := r.Read(buf)
		if m > 0 {
			if _, werr := w.Write(buf[:m]); werr != nil {
				return n, nil, werr
			}
			n += int64(m)
			at(n)
		}
		if err == io.EOF {
			return n, nil, nil
		}
		if err != nil {
			return n, err, nil
		}
	}
}

// Cat writes a file's bytes to w, going on where a connection broke.
func (c *Client) Cat(ctx context.Context, p files.Path, w io.Writer) error {
	res, err := c.open(ctx, p, "", 0)
	if err != nil {
		return err
	}
	etag, size, n := res.Header.Get("ETag"), res.ContentLength, int64(0)
	for a := (again{c: c}); ; {
		m, rerr, werr := pour(w, res.Body, func(int64) {})
		res.Body.Close()
		if n += m; m > 0 {
			a.moved()
		}
		switch {
		case werr != nil:
			return werr
		case rerr == nil && (size < 0 || n >= size):
			return nil
		case rerr == nil:
			rerr = io.ErrUnexpectedEOF
		}
		if err := a.next(ctx, c.lost(ctx, rerr)); err != nil {
			return err
		}
		if res, err = c.open(ctx, p, etag, n); err != nil {
			return err
		}
		if res.StatusCode != http.StatusPartialContent || res.Header.Get("ETag") != etag {
			res.Body.Close()
			return changed()
		}
	}
}
