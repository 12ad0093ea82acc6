package files

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stagingDir holds what is being made until it gets its name at once, and what
// is being removed. It is in the home, so that a rename can do it.
const stagingDir Path = ".local/share/staithe/staging"

// makeFolder opens a folder of ours in the home and makes it, closed to others,
// when it is not there. A link on the way is followed as far as it stays inside.
func (h *Home) makeFolder(p Path) (*os.File, error) {
	dir, err := h.folder(p)
	if errors.Is(err, unix.ENOENT) {
		var real Path
		if real, err = h.resolve(p); err == nil {
			if err = h.root.MkdirAll(dot(real), 0o700); err == nil {
				dir, err = h.folder(real)
			}
		}
	}
	return dir, explain(p, err)
}

// stage opens the staging folder and gives a name that is free in it.
func (h *Home) stage() (dir *os.File, name string, err error) {
	dir, err = h.makeFolder(stagingDir)
	return dir, rand.Text(), err
}

// Sweep removes what a helper that was killed left half made, but not uploads
// that may go on. Call it before anything else is done with the home: it would
// take that for left as well.
func (h *Home) Sweep(ctx context.Context) error {
	sweep, err := h.Left()
	return errors.Join(err, sweep(ctx))
}

// Left looks what Sweep is to remove, and returns what does it, which may take long
// and run beside everything else. The error is of looking.
func (h *Home) Left() (sweep func(context.Context) error, err error) {
	dir, err := h.folder(stagingDir)
	if errors.Is(err, fs.ErrNotExist) {
		return func(context.Context) error { return nil }, nil
	}
	var names []string
	if err == nil {
		names, err = dir.Readdirnames(-1)
		err = errors.Join(err, dir.Close())
	}
	return func(ctx context.Context) error { return h.sweep(ctx, names) }, explain(stagingDir, err)
}

func (h *Home) sweep(ctx context.Context, names []string) error {
	dir, err := h.folder(stagingDir)
	if err != nil {
		return explain(stagingDir, err)
	}
	defer dir.Close()
	var errs []error
	for _, name := range names {
		if stagingDir.Join(name) == uploadsDir {
			continue // they go on
		}
		if strings.HasPrefix(name, restorePrefix) {
			errs = append(errs, h.forgetOld(ctx, dir, name))
			continue
		}
		errs = append(errs, remove(ctx, dir, name, 0))
	}
	return errors.Join(explain(stagingDir, errors.Join(errs...)), h.SweepUploads(ctx))
}

// undoLife is how long a restore can be undone. Tests change it.
var undoLife = 30 * 24 * time.Hour

// recent says whether a restore's folder was changed within undoLife.
func recent(dir *os.File, name string) bool {
	st, err := lstat(dir, name)
	return err == nil && time.Since(time.Unix(st.Ctim.Unix())) < undoLife
}

// remove deletes a name in an open folder with all that is below it. It follows
// no link, and opens its owner's way into folders that are closed to themselves,
// such as Go's module cache.
func remove(ctx context.Context, dir *os.File, name string, depth int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if st, serr := lstat(dir, name); serr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	if err := unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR); err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if depth == maxDepth {
		return tooDeep(Path(name))
	}
	sub, err := openFolder(dir, name)
	if errors.Is(err, unix.EACCES) {
		if err = chmodAt(dir, name, 0o700); err == nil {
			sub, err = openFolder(dir, name)
		}
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	if st := new(unix.Stat_t); unix.Fstat(int(sub.Fd()), st) == nil && st.Mode&0o300 != 0o300 {
		if err := sub.Chmod(0o700); err != nil {
			return err
		}
	}
	var errs []error
	for {
		names, err := sub.Readdirnames(1024)
		if len(names) == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				errs = append(errs, err)
			}
			break
		}
		for _, n := range names {
			if err := remove(ctx, sub, n, depth+1); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
}

// chmodAt changes the mode of a name in an open folder that may not be opened. It
// follows no link; a kernel before 6.6 cannot do that and says so.
func chmodAt(dir *os.File, name string, mode uint32) error {
	return unix.Fchmodat(int(dir.Fd()), name, mode, unix.AT_SYMLINK_NOFOLLOW)
}
