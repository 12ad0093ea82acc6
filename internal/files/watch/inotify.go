package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

const inotifyMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY |
	unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// pairing is how long the first half of a move waits for the second.
const pairing = 20 * time.Millisecond

// errWatches says that the account has no more inotify watches.
var errWatches = errors.New("no inotify watch is left; raise fs.inotify.max_user_watches or max_user_instances")

// branch is a folder that has an inotify watch.
type branch struct {
	up   *branch
	name string
	wd   int32
	ino  uint64
	kids map[string]*branch
}

func (b *branch) path() files.Path {
	var parts []string
	for ; b.up != nil; b = b.up {
		parts = append(parts, b.name)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	if len(parts) == 0 {
		return "."
	}
	return files.Path(strings.Join(parts, "/"))
}

// inotify is the watches of one home. It belongs to its poll's goroutine, but for
// reading file.
type inotify struct {
	fd   int
	file *os.File
	byWD map[int32]*branch
	top  *branch
	most int // watches
	half *half
}

// half is a move of which only the first part was seen.
type half struct {
	cookie uint32
	from   files.Path
	kid    *branch // of a folder
	dir    bool
}

func newInotify(most int) (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return nil, errWatches
	}
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &inotify{fd: fd, file: os.NewFile(uintptr(fd), "inotify"), byWD: map[int32]*branch{}, most: most}, nil
}

// watch puts a watch on an open folder. It goes by the descriptor: the name may be
// another's by now.
func (n *inotify) watch(dir *os.File, up *branch, name string) (*branch, error) {
	if len(n.byWD) >= n.most {
		return nil, errWatches
	}
	wd, err := unix.InotifyAddWatch(n.fd, fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), inotifyMask)
	if errors.Is(err, unix.ENOSPC) {
		return nil, errWatches
	}
	if err != nil {
		return nil, err
	}
	b := n.byWD[int32(wd)]
	if b == nil {
		var st unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
			return nil, err
		}
		b = &branch{wd: int32(wd), ino: st.Ino, kids: map[string]*branch{}}
		n.byWD[b.wd] = b
	}
	if up == nil {
		n.top = b
	} else if !b.place(up, name) {
		return nil, errBadEvents
	}
	return b, nil
}

// place gives a branch its place in the tree. It returns false when that is below
// the branch itself: folders were moved meanwhile.
func (b *branch) place(up *branch, name string) bool {
	for a := up; a != nil; a = a.up {
		if a == b {
			return false
		}
	}
	if b.up != nil && b.up.kids[b.name] == b {
		delete(b.up.kids, b.name)
	}
	b.up, b.name = up, name
	up.kids[name] = b
	return true
}

// drop takes the watches from a folder and from all below it.
func (n *inotify) drop(b *branch) {
	for _, k := range b.kids {
		n.drop(k)
	}
	if n.byWD[b.wd] == b {
		delete(n.byWD, b.wd)
		_, _ = unix.InotifyRmWatch(n.fd, uint32(b.wd)) // gone by itself when the folder is
	}
	if b.up != nil && b.up.kids[b.name] == b {
		delete(b.up.kids, b.name)
	}
}

// heard is one event of the kernel's.
type heard struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

// readHeard takes a buffer of inotify events apart.
func readHeard(buf []byte) (out []heard, err error) {
	for len(buf) > 0 {
		if len(buf) < unix.SizeofInotifyEvent {
			return out, errBadEvents
		}
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if size < unix.SizeofInotifyEvent || size > len(buf) {
			return out, errBadEvents
		}
		name, _, _ := strings.Cut(string(buf[unix.SizeofInotifyEvent:size]), "\x00")
		if strings.Contains(name, "/") || name == "." || name == ".." {
			return out, errBadEvents
		}
		out = append(out, heard{
			wd: int32(binary.NativeEndian.Uint32(buf)), mask: binary.NativeEndian.Uint32(buf[4:]),
			cookie: binary.NativeEndian.Uint32(buf[8:]), name: name,
		})
		buf = buf[size:]
	}
	return out, nil
}
