package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// walkDescriptors is how many folders of one way down are held open; those
	// above are found again through "..", so that a home a million folders deep
	// costs no more.
	walkDescriptors = 128
	// lookEvery is how many entries are looked at between two looks at the
	// context and the bound.
	lookEvery = 512
)

// errMoved says that a folder was moved away while it was measured.
var errMoved = errors.New("a folder was moved while it was measured")

// inode names a file on one file system.
type inode struct{ dev, ino uint64 }

// level is one folder on the way down.
type level struct {
	fd  int // -1 when it was closed to spare descriptors
	id  inode
	off int64 // where to go on reading once reopened
	buf []byte
	n   []byte // of buf, not yet looked at
}

// walk looks at everything below a folder that may be hostile and may change
// meanwhile. It follows no link, crosses into no other file system, and holds
// neither more descriptors nor more memory for a deep or wide tree; the memory
// for files with several links is bounded by max.
type walk struct {
	dev   uint64
	max   int64          // files; when more are found the walk ends early
	seen  map[inode]bool // files with several links
	bytes int64
	files int64
	// visit, when set, is called for each regular file and folder with an open
	// descriptor of its folder and its name there.
	visit func(dirfd int, name string) error

	levels []level
	cut    bool // ended early: there are more than max
	closed bool // a folder let this account not in
}

// measureDir sums disk blocks and inodes below the folder fd, itself included.
func measureDir(ctx context.Context, fd int, max int64, visit func(dirfd int, name string) error) (*walk, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at the home: %w", err)
	}
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the home: %w", err)
	}
	w := &walk{dev: uint64(st.Dev), max: max, seen: map[inode]bool{}, bytes: st.Blocks * 512, files: 1, visit: visit}
	w.push(own, inode{uint64(st.Dev), st.Ino})
	defer w.close()
	return w, w.run(ctx)
}

func (w *walk) close() {
	for _, l := range w.levels {
		if l.fd >= 0 {
			unix.Close(l.fd)
		}
	}
	w.levels = nil
}

func (w *walk) push(fd int, id inode) {
	if n := len(w.levels) - walkDescriptors; n >= 0 && w.levels[n].fd >= 0 {
		l := &w.levels[n]
		unix.Close(l.fd)
		l.fd, l.buf, l.n = -1, nil, nil // read again from off
	}
	w.levels = append(w.levels, level{fd: fd, id: id})
}

// pop leaves a folder. The one above is reopened from below when it was closed,
// and only taken for what it was when it still is that folder.
func (w *walk) pop() error {
	top := len(w.levels) - 1
	l := w.levels[top]
	defer unix.Close(l.fd)
	w.levels = w.levels[:top]
	if top == 0 || w.levels[top-1].fd >= 0 {
		return nil
	}
	up := &w.levels[top-1]
	fd, err := unix.Openat(l.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("go back up: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || up.id != (inode{uint64(st.Dev), st.Ino}) {
		unix.Close(fd)
		return errMoved
	}
	if _, err := unix.Seek(fd, up.off, 0); err != nil {
		unix.Close(fd)
		return fmt.Errorf("go back up: %w", err)
	}
	up.fd = fd
	return nil
}

func (w *walk) run(ctx context.Context) error {
	for n := 0; len(w.levels) > 0; n++ {
		if n%lookEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if w.max > 0 && w.files > w.max {
				w.cut = true
				return nil
			}
		}
		l := &w.levels[len(w.levels)-1]
		name, off, err := l.next()
		if err != nil {
			return fmt.Errorf("read a folder of the home: %w", err)
		}
		if name == "" {
			if err := w.pop(); err != nil {
				return err
			}
			continue
		}
		l.off = off
		if err := w.look(l.fd, name); err != nil {
			return err
		}
	}
	return nil
}

// look counts one entry and goes down into a folder.
func (w *walk) look(dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT); err != nil {
		return nil // gone meanwhile
	}
	id := inode{uint64(st.Dev), st.Ino}
	if id.dev != w.dev {
		return nil
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		if w.seen[id] {
			return nil
		}
		w.seen[id] = true
	}
	w.bytes += st.Blocks * 512
	w.files++
	if w.visit != nil && (kind == unix.S_IFDIR || kind == unix.S_IFREG) {
		if err := w.visit(dir, name); err != nil {
			return err
		}
	}
	if kind != unix.S_IFDIR {
		return nil
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) { // a rootless server may not look in
		w.closed = true
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil // gone or swapped meanwhile
	}
	if err != nil {
		return fmt.Errorf("open a folder of the home: %w", err)
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil || uint64(now.Dev) != w.dev {
		unix.Close(fd)
		return nil
	}
	w.push(fd, inode{uint64(now.Dev), now.Ino})
	return nil
}

// next is the name of the folder's next entry, "" at its end, and the place
// after it. It streams: a folder of a million entries is never held whole.
func (l *level) next() (name string, off int64, err error) {
	for {
		if len(l.n) == 0 {
			if l.buf == nil {
				l.buf = make([]byte, 8<<10)
			}
			n, err := unix.Getdents(l.fd, l.buf)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if errors.Is(err, fs.ErrNotExist) { // the folder was removed
				return "", 0, nil
			}
			if err != nil || n <= 0 {
				return "", 0, err
			}
			l.n = l.buf[:n]
		}
		// struct linux_dirent64: ino, off, reclen, type, name (getdents64(2)).
		e := l.n
		size := int(binary.NativeEndian.Uint16(e[16:]))
		off = int64(binary.NativeEndian.Uint64(e[8:]))
		l.n = e[size:]
		name = unix.ByteSliceToString(e[int(unsafe.Offsetof(unix.Dirent{}.Name)):size])
		if name != "." && name != ".." && name != "" {
			return name, off, nil
		}
	}
}
