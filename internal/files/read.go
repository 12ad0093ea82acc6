package files

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// Reader is an open regular file: bytes from anywhere, as ranges need them. It
// reads the file that was opened, whatever takes its name meanwhile. Close it.
type Reader struct {
	Entry Entry // with its ETag; the path is the one that was asked for
	f     *os.File
}

// Read opens a file for reading. A link is followed as far as it stays in the
// home. The error wraps station.ErrConflict for what is no regular file.
func (h *Home) Read(ctx context.Context, p Path) (*Reader, error) {
	real, err := h.follow(p)
	if err != nil {
		return nil, err
	}
	dir, base, err := h.place(real)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, _, err := openRegular(dir, base)
	if err != nil {
		return nil, explain(p, err)
	}
	st, err := settled(ctx, func() (st unix.Stat_t, err error) {
		return st, unix.Fstat(int(f.Fd()), &st)
	})
	if err != nil {
		f.Close()
		return nil, explain(p, err)
	}
	e := h.entry(dir, p, base, st)
	e.ETag = etag(st)
	return &Reader{Entry: e, f: f}, nil
}

// Read, ReadAt, Seek and Close are the file's.
func (r *Reader) Read(b []byte) (int, error) { return r.f.Read(b) }

// ReadAt reads from an offset.
func (r *Reader) ReadAt(b []byte, off int64) (int, error) { return r.f.ReadAt(b, off) }

// Seek sets where the next Read begins.
func (r *Reader) Seek(off int64, whence int) (int64, error) { return r.f.Seek(off, whence) }

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }
