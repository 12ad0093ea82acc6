package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// maxLinks is how many links are followed on one way.
const maxLinks = 40

// Options say what a home is like.
type Options struct {
	// Home is what the home is called inside the user's sessions, such as
	// /home/dev. An absolute link to something in there is followed, as it is in
	// there; every other absolute link is refused. Empty: all are.
	Home string
}

// Home is one user's home. Safe for concurrent use.
type Home struct {
	root   *os.Root
	inside string // Options.Home, cleaned; empty: unknown

	commits sync.Mutex // held while a condition is checked and its file replaced
	placing sync.Mutex // held while a restore is placed or undone
}

// Open returns the home in dir. Close it.
func Open(dir string, o Options) (*Home, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the home: %w", err)
	}
	h := &Home{root: root}
	if path.IsAbs(o.Home) {
		h.inside = path.Clean(o.Home)
	}
	return h, nil
}

// Close frees the home's folder. Files that are open stay so.
func (h *Home) Close() error { return h.root.Close() }

// folder opens a folder, following links as far as they stay inside.
func (h *Home) folder(p Path) (*os.File, error) {
	const flags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	f, err := h.root.OpenFile(dot(p), flags, 0)
	if escapes(err) && h.inside != "" {
		var real Path
		if real, err = h.resolve(p); err == nil {
			f, err = h.root.OpenFile(dot(real), flags, 0)
		}
	}
	return f, err
}

func dot(p Path) string {
	if p == "" {
		return "."
	}
	return string(p)
}

// place opens the folder that p is in. What is done there with base goes by the
// descriptor and one name without a slash, and follows no link: it can hit
// nothing outside, whatever is renamed meanwhile. The caller closes dir.
func (h *Home) place(p Path) (dir *os.File, base string, err error) {
	if p, err = p.Clean(); err != nil {
		return nil, "", err
	}
	if p.Home() {
		return nil, "", isHome()
	}
	parent, base := p.split()
	if dir, err = h.folder(parent); err != nil {
		return nil, "", explain(p, err)
	}
	return dir, base, nil
}

// resolve is p with no link left in it, as far as it exists; absolute links into
// Options.Home count from the top. It only reads: what it returns must go
// through the root again. The error is os.Root's when the way leads outside.
func (h *Home) resolve(p Path) (Path, error) {
	var done []string
	todo := strings.Split(dot(p), "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) == 0 {
				return "", outside(p)
			}
			done = done[:len(done)-1]
			continue
		}
		here := strings.Join(append(done[:len(done):len(done)], part), "/")
		target, err := h.root.Readlink(here)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // no link, or nothing
			done = append(done, part)
			continue
		}
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if path.IsAbs(target) {
			rest, ok := h.inHome(target)
			if !ok {
				return "", outside(p)
			}
			done, target = nil, rest
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return Path(strings.Join(done, "/")), nil
}

// inHome is an absolute path, as the sessions see it, from the home's top.
func (h *Home) inHome(target string) (string, bool) {
	if h.inside == "" {
		return "", false
	}
	if path.Clean(target) == h.inside {
		return ".", true
	}
	return strings.CutPrefix(target, h.inside+"/")
}

func outside(p Path) error {
	return station.Errorf(station.ErrForbidden, "outside_home",
		"A link on the way to %q leads out of the home; use a path without it.", shorten(p))
}

// follow is what p means when it is a link: the path of what it leads to, which
// need not exist. What is no link stays as it is.
func (h *Home) follow(p Path) (Path, error) {
	dir, base, err := h.place(p)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if errors.Is(err, unix.ENOENT) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return p, nil
	}
	if err != nil {
		return "", explain(p, err)
	}
	real, err := h.resolve(p)
	return real, explain(p, err)
}

// lstat looks at a name in an open folder and follows nothing.
func lstat(dir *os.File, base string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// open opens a name in an open folder and follows nothing. It never waits for a
// FIFO's other end.
func open(dir *os.File, base string, flags int, mode uint32) (*os.File, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), base, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), base), nil
}

// openRegular opens a file for reading when it is a regular one.
func openRegular(dir *os.File, base string) (*os.File, unix.Stat_t, error) {
	// Looked at before as well: opening a device may do something.
	st, err := lstat(dir, base)
	if err != nil {
		return nil, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, notRegular(Path(base))
	}
	f, err := open(dir, base, unix.O_RDONLY, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) { // replaced this moment by a link, or a socket
		return nil, st, notRegular(Path(base))
	}
	if err != nil {
		return nil, st, err
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, st, notRegular(Path(base))
	}
	return f, st, nil
}

// openFolder opens a folder in an open folder and follows nothing.
func openFolder(dir *os.File, base string) (*os.File, error) {
	return open(dir, base, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// retry goes on where a signal came in between.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// syncFolder makes names in a folder last over a crash. File systems that cannot
// are let be.
func syncFolder(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   interface{ Read([]byte) (int, error) }
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
