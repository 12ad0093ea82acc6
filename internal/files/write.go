package files

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// newMode is a new file's when nothing else is said.
const newMode = 0o644

// WriteOptions say when and how a file is written.
type WriteOptions struct {
	IfMatch string    // replace only the content with this ETag
	IfNone  bool      // write only when there is nothing of that name
	Size    int64     // how many bytes must come; fewer or more are refused. -1: as many as come
	Mode    uint32    // permission bits, of a new file only; 0: 0644
	MTime   time.Time // zero: now
	ETag    bool      // wait for the ETag, up to 20 ms
}

// Write makes what r gives the content of a file: all of it under that name, or
// nothing. When it returns, the file outlives a loss of power. A file that was
// there keeps its mode, owner and attributes, and its place when p is a link to
// it; it gets another inode, so that its other hard links keep the old content.
// The Entry is of the file that was written, also when p is a link to it. The
// error wraps station.ErrConflict when a condition does not hold.
func (h *Home) Write(ctx context.Context, p Path, r io.Reader, o WriteOptions) (Entry, error) {
	real, err := h.follow(p)
	if err != nil {
		return Entry{}, err
	}
	dir, base, err := h.place(real)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	old, err := replaceable(dir, base, p, o)
	if err != nil {
		return Entry{}, err
	}
	stage, tmp, err := h.stage()
	if err != nil {
		return Entry{}, err
	}
	defer stage.Close()
	// Under a context of its own: what was given up is removed all the same.
	defer func() { _ = remove(context.WithoutCancel(ctx), stage, tmp, 0) }() // what stays, Sweep removes
	if err := fill(ctx, stage, tmp, r, dir, base, old, o); err != nil {
		return Entry{}, explain(p, err)
	}
	if err := h.commit(stage, tmp, dir, base, old, o); err != nil {
		return Entry{}, explain(p, err)
	}
	if err := syncFolder(dir); err != nil {
		return Entry{}, explain(p, err)
	}
	if !o.ETag {
		return h.now(real)
	}
	return h.Stat(ctx, real)
}

// replaceable looks at what is to be replaced; nil: there is nothing.
func replaceable(dir *os.File, base string, p Path, o WriteOptions) (*unix.Stat_t, error) {
	st, err := lstat(dir, base)
	if errors.Is(err, unix.ENOENT) {
		if o.IfMatch != "" {
			return nil, changed(p)
		}
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, explain(p, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, explain(p, unix.EISDIR)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, notRegular(p)
	case o.IfNone:
		return nil, explain(p, unix.EEXIST)
	case o.IfMatch != "" && o.IfMatch != etag(st):
		return nil, changed(p)
	}
	if uid := os.Geteuid(); uid != 0 && int(st.Uid) != uid {
		return nil, station.Errorf(station.ErrForbidden, "not_yours",
			"%q belongs to another account of a session; change its owner in a terminal there.", shorten(p))
	}
	// A file that may not be written is not to be replaced either.
	if st.Mode&0o200 == 0 && os.Geteuid() != 0 {
		return nil, explain(p, unix.EACCES)
	}
	return &st, nil
}

// fill writes the new content to a file of the staging folder and syncs it.
func fill(ctx context.Context, stage *os.File, tmp string, r io.Reader, dir *os.File, base string, old *unix.Stat_t, o WriteOptions) (err error) {
	f, err := open(stage, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	from := io.Reader(contextReader{ctx, r})
	if o.Size >= 0 {
		from = io.LimitReader(from, o.Size+1)
	}
	n, err := io.Copy(f, from)
	if err != nil {
		return err
	}
	if o.Size >= 0 && n != o.Size {
		return station.Errorf(station.ErrInvalid, "cut_off",
			"The file did not arrive whole; what was there before is untouched. Send it again.")
	}
	if err := dress(f, dir, base, old, o); err != nil {
		return err
	}
	return f.Sync()
}

// dress gives the new file what the old one had.
func dress(f, dir *os.File, base string, old *unix.Stat_t, o WriteOptions) error {
	mode := o.Mode & 0o777
	if mode == 0 {
		mode = newMode
	}
	if old != nil {
		mode = old.Mode & 0o777
		if os.Geteuid() == 0 {
			if err := f.Chown(int(old.Uid), int(old.Gid)); err != nil {
				return err
			}
		}
		if was, _, err := openRegular(dir, base); err == nil {
			err = copyXattrs(was, f)
			was.Close()
			if err != nil {
				return err
			}
		}
	}
	if err := f.Chmod(os.FileMode(mode)); err != nil {
		return err
	}
	return setTime(f, o.MTime)
}

// setTime sets when a file was last changed, to the nanosecond; zero: it stays.
func setTime(f *os.File, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return unix.EINVAL
	}
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}

// commit gives the new file its name.
func (h *Home) commit(stage *os.File, tmp string, dir *os.File, base string, old *unix.Stat_t, o WriteOptions) error {
	h.commits.Lock()
	defer h.commits.Unlock()
	from, to := int(stage.Fd()), int(dir.Fd())
	switch {
	case o.IfMatch != "":
		return exchange(from, tmp, dir, base, old, o.IfMatch)
	case old == nil && o.IfNone:
		return renameNoReplace(from, tmp, to, base)
	}
	return retry(func() error { return unix.Renameat(from, tmp, to, base) })
}

// exchange puts the new file in the place of the old one and looks what it got
// for it. That was the one that was meant, or both go back: what a program in a
// session wrote since the condition was checked is not lost.
func exchange(from int, tmp string, dir *os.File, base string, old *unix.Stat_t, want string) error {
	now, err := lstat(dir, base)
	if err != nil || etag(now) != want {
		return changed(Path(base))
	}
	to := int(dir.Fd())
	err = retry(func() error { return unix.Renameat2(from, tmp, to, base, unix.RENAME_EXCHANGE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
		return retry(func() error { return unix.Renameat(from, tmp, to, base) })
	}
	if err != nil {
		return err
	}
	var got unix.Stat_t
	err = unix.Fstatat(from, tmp, &got, unix.AT_SYMLINK_NOFOLLOW)
	// The exchange itself changes ctime.
	if err == nil && got.Ino == old.Ino && got.Size == old.Size && got.Mtim == old.Mtim {
		return nil
	}
	if back := unix.Renameat2(from, tmp, to, base, unix.RENAME_EXCHANGE); back != nil {
		return errors.Join(err, back)
	}
	return changed(Path(base))
}

// renameNoReplace is a rename that takes nobody's place, on all file systems that
// know the flag; on others it is checked first.
func renameNoReplace(from int, a string, to int, b string) error {
	err := retry(func() error { return unix.Renameat2(from, a, to, b, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	var st unix.Stat_t
	if serr := unix.Fstatat(to, b, &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(serr, unix.ENOENT) {
		if serr == nil {
			return unix.EEXIST
		}
		return serr
	}
	return retry(func() error { return unix.Renameat(from, a, to, b) })
}
