package files

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// maxDepth is how many folders deep a tree is walked; each holds descriptors.
const maxDepth = 300

// maxTold is how many paths of what was left out are named.
const maxTold = 100

// Copied says what a copy has.
type Copied struct {
	Entry   Entry  `json:"entry"`
	Files   int    `json:"files"`
	Folders int    `json:"folders"`
	Bytes   int64  `json:"bytes"`             // of file contents
	Skipped []Path `json:"skipped,omitempty"` // sockets and devices, which cannot be copied; at most 100
}

// Copy copies a file, a link itself, or a folder with all in it, to a name that is
// free: whole or not at all, and on the disk when it returns. It keeps modes, times, links, hard links within what
// is copied, holes and user attributes, and shares the disk's blocks where the
// file system can. What changes while it is copied is copied as it is read. room
// is how many bytes of disk it may take; 0: as many as there are.
func (h *Home) Copy(ctx context.Context, from, to Path, room int64) (Copied, error) {
	a, aBase, err := h.place(from)
	if err != nil {
		return Copied{}, err
	}
	defer a.Close()
	b, bBase, err := h.place(to)
	if err != nil {
		return Copied{}, err
	}
	defer b.Close()
	if to != from && to.within(from) || stagingDir.within(from) {
		return Copied{}, intoItself(from)
	}
	if _, err := lstat(b, bBase); err == nil {
		return Copied{}, explain(to, unix.EEXIST)
	}
	stage, tmp, err := h.stage()
	if err != nil {
		return Copied{}, err
	}
	defer stage.Close()
	defer func() { _ = remove(context.WithoutCancel(ctx), stage, tmp, 0) }() // what stays, Sweep removes
	c := copier{ctx: ctx, home: h, top: stagingDir.Join(tmp), seen: map[inode]Path{}, room: room}
	if err := unix.Fstat(int(stage.Fd()), &c.stage); err != nil {
		return c.done, explain(from, err)
	}
	if err := c.copy(a, aBase, stage, tmp, "", 0); err != nil {
		return c.done, explain(from, err)
	}
	// All at once: who deletes the original then must not lose both to a power cut.
	if err := unix.Syncfs(int(stage.Fd())); err != nil {
		return c.done, explain(to, err)
	}
	if err := moveName(stage, tmp, b, bBase); err != nil {
		if errors.Is(err, unix.ENOENT) && len(c.done.Skipped) > 0 {
			return c.done, notRegular(from)
		}
		return c.done, explain(to, err)
	}
	if err := syncFolder(b); err != nil {
		return c.done, explain(to, err)
	}
	c.done.Entry, err = h.now(to)
	return c.done, err
}

// inode names a file whatever it is called.
type inode struct{ dev, ino uint64 }

func inodeOf(st unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// copier is one copy under way.
type copier struct {
	ctx   context.Context
	home  *Home
	top   Path           // where the copy is made, from the home's top
	stage unix.Stat_t    // the staging folder, which is not copied into itself
	seen  map[inode]Path // files with several names, by where they were copied to below top
	room  int64          // Copy's
	used  int64          // of it
	done  Copied
}

// copy copies one name; rel is its path below top.
func (c *copier) copy(a *os.File, aBase string, b *os.File, bBase string, rel Path, depth int) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	st, err := lstat(a, aBase)
	if err != nil {
		if depth > 0 && errors.Is(err, unix.ENOENT) {
			return nil // gone meanwhile
		}
		return err
	}
	switch kindOf(st.Mode) {
	case KindFolder:
		return c.folder(a, aBase, b, bBase, rel, depth)
	case KindFile:
		return c.file(a, aBase, b, bBase, st, rel)
	case KindSymlink:
		err = unix.Symlinkat(string(readlink(a, aBase)), int(b.Fd()), bBase)
	case KindFIFO:
		err = unix.Mkfifoat(int(b.Fd()), bBase, st.Mode&0o777)
	default:
		c.skip(rel)
		return nil
	}
	if err != nil {
		return err
	}
	c.done.Files++
	return setTimes(b, bBase, st)
}

func (c *copier) skip(rel Path) {
	if len(c.done.Skipped) < maxTold {
		c.done.Skipped = append(c.done.Skipped, rel)
	}
}

func (c *copier) folder(a *os.File, aBase string, b *os.File, bBase string, rel Path, depth int) (err error) {
	if depth == maxDepth {
		return tooDeep(rel)
	}
	from, err := openFolder(a, aBase)
	if err != nil {
		return err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	if inodeOf(st) == inodeOf(c.stage) {
		return nil
	}
	if err := unix.Mkdirat(int(b.Fd()), bBase, 0o700); err != nil {
		return err
	}
	to, err := openFolder(b, bBase)
	if err != nil {
		return err
	}
	defer to.Close()
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.copy(from, name, to, name, rel.Join(name), depth+1); err != nil {
			return err
		}
	}
	c.done.Folders++
	return finish(from, to, b, bBase, st)
}

// finish gives a copy, which is base in dir, what its original has besides its
// content; the times last, as everything else sets them.
func finish(from, to, dir *os.File, base string, st unix.Stat_t) error {
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	mode := st.Mode & 0o7777
	if int(st.Uid) != os.Geteuid() {
		mode &^= unix.S_ISUID | unix.S_ISGID // they would say something else of another's file
	}
	if err := unix.Fchmod(int(to.Fd()), mode); err != nil {
		return err
	}
	return setTimes(dir, base, st)
}

func setTimes(dir *os.File, base string, st unix.Stat_t) error {
	return unix.UtimesNanoAt(int(dir.Fd()), base, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) file(a *os.File, aBase string, b *os.File, bBase string, st unix.Stat_t, rel Path) (err error) {
	if first, ok := c.seen[inodeOf(st)]; ok && st.Nlink > 1 {
		c.done.Files++
		// By the root: a link could have been put on the way to the first one.
		return c.home.root.Link(dot(c.below(first)), dot(c.below(rel)))
	}
	from, st, err := openRegular(a, aBase)
	if err != nil {
		return err
	}
	defer from.Close()
	if c.used += onDisk(st); c.room > 0 && c.used > c.room {
		return unix.EDQUOT
	}
	to, err := open(b, bBase, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) != nil { // shares no blocks here
		if err := copySparse(c.ctx, to, from); err != nil {
			return err
		}
	}
	if st.Nlink > 1 {
		c.seen[inodeOf(st)] = rel
	}
	c.done.Files++
	c.done.Bytes += st.Size
	return finish(from, to, b, bBase, st)
}

func (c *copier) below(rel Path) Path {
	if rel == "" {
		return c.top
	}
	return c.top + "/" + rel
}

// copySparse copies a file's data and leaves its holes. The kernel does the
// copying where it can.
func copySparse(ctx context.Context, to, from *os.File) error {
	const step = 64 << 20 // between looks at the context
	size, err := from.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole until the end
			break
		}
		end := size
		if err != nil {
			data = at // a file system that does not tell
		} else if hole, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE); err == nil {
			end = hole
		}
		for at = data; at < end; {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n, err := copyPart(to, from, at, min(step, end-at))
			if err != nil {
				return err
			}
			if n == 0 { // it has become shorter
				return to.Truncate(at)
			}
			at += n
		}
	}
	return to.Truncate(size)
}

func copyPart(to, from *os.File, at, n int64) (int64, error) {
	if _, err := from.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := to.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(to, io.LimitReader(from, n)) // copy_file_range
}

// copyXattrs copies the attributes that are the user's: user.* and access lists.
// A file system without is fine.
func copyXattrs(from, to *os.File) error {
	for _, name := range xattrNames(from) {
		value, err := xattr(from, name)
		if err != nil {
			continue // gone, or not for us
		}
		err = unix.Fsetxattr(int(to.Fd()), name, value, 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

func xattrNames(f *os.File) []string {
	n, err := unix.Flistxattr(int(f.Fd()), nil)
	if err != nil || n == 0 {
		return nil
	}
	buf := make([]byte, n+256)
	if n, err = unix.Flistxattr(int(f.Fd()), buf); err != nil {
		return nil
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func xattr(f *os.File, name string) ([]byte, error) {
	buf := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(int(f.Fd()), name, buf)
	return buf[:max(n, 0)], err
}

func tooDeep(p Path) error {
	return station.Errorf(station.ErrInvalid, "too_deep",
		"%q lies more than %d folders deep; do this in a terminal.", shorten(p), maxDepth)
}
