package watch

import (
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

const (
	// mostNodes is how many folders are remembered; then all are forgotten, and
	// found again as they are needed (about 10 µs each).
	mostNodes = 1 << 17
	mostPath  = 4000 // bytes, as files.Path
	// beingMade is for how long at most a handle is asked for again that the kernel
	// has no memory for. It says that also of a folder that is gone while its inode
	// is just being made into something else, which a moment later is ESTALE.
	beingMade = 100 * time.Millisecond
)

// node is a folder of a watched home. Its path is its parents' names: a folder
// that is moved changes one node, not all below it.
type node struct {
	parent *node
	name   string
	home   *home // it is the top of this home
}

// outside stands for every folder that is in no watched home, or gone.
var outside = &node{}

// path is where a folder is; false when it is in no watched home.
func (n *node) path() (*home, files.Path, bool) {
	size, depth := 0, 0
	top := n
	for ; top.parent != nil; top = top.parent {
		depth++
		if size += len(top.name) + 1; size > mostPath {
			return nil, "", false
		}
	}
	if top.home == nil {
		return nil, "", false
	}
	if depth == 0 {
		return top.home, ".", true
	}
	b := make([]byte, size)
	at := size
	for ; n != top; n = n.parent {
		at--
		b[at] = '/'
		at -= len(n.name)
		copy(b[at:], n.name)
	}
	return top.home, files.Path(b[:size-1]), true
}

// tree finds folders by their keys. It belongs to Watcher.mu.
type tree struct {
	disks map[[8]byte]*os.File // a folder on each file system that is marked
	tops  map[string]*node     // the homes
	roots map[string]bool      // their canonical paths
	nodes map[string]*node     // what is remembered, tops among it
	most  int
}

func newTree() *tree {
	return &tree{disks: map[[8]byte]*os.File{}, tops: map[string]*node{}, roots: map[string]bool{}, nodes: map[string]*node{}, most: mostNodes}
}

func (t *tree) addTop(h *home, key []byte) {
	h.top = &node{home: h}
	t.tops[string(key)] = h.top
	t.roots[h.root] = true
	t.forget() // its folders were outside until now
}

func (t *tree) removeTop(h *home) {
	for key, n := range t.tops {
		if n.home == h {
			delete(t.tops, key)
		}
	}
	delete(t.roots, h.root)
	t.forget()
}

// forget forgets all but the homes.
func (t *tree) forget() {
	clear(t.nodes)
	for key, n := range t.tops {
		t.nodes[key] = n
	}
}

// node is the folder with a key, or outside. The error says that it cannot be
// known now.
func (t *tree) node(key []byte) (*node, error) {
	if n, ok := t.nodes[string(key)]; ok {
		return n, nil
	}
	if len(t.nodes) >= t.most {
		t.forget()
	}
	return t.find(key)
}

// find asks the kernel for a folder, and for those above it that are not known.
func (t *tree) find(key []byte) (*node, error) {
	if n, ok := t.nodes[string(key)]; ok {
		return n, nil
	}
	n, err := t.look(key)
	if err == nil {
		t.nodes[string(key)] = n
	}
	return n, err
}

// look asks the kernel where a folder is now. Only the folder's own parent is
// opened, by "..": no name in a home is looked up.
func (t *tree) look(key []byte) (*node, error) {
	fd, err := t.open(key)
	if errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT) {
		return outside, nil
	}
	if err != nil {
		return nil, err
	}
	name, up, err := t.above(fd)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, err
	}
	if up == nil {
		return outside, nil
	}
	parent, err := t.find(up)
	if err != nil || parent == outside {
		return outside, err
	}
	return &node{parent: parent, name: name}, nil
}

// above is an open folder's name and its parent's key; nil when it is in no
// watched home.
func (t *tree) above(fd int) (string, []byte, error) {
	at, err := pathOf(fd)
	if errors.Is(err, unix.ENAMETOOLONG) || err == nil && !t.inside(at) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", nil, err
	}
	if st.Nlink == 0 { // deleted, and still open somewhere
		return "", nil, nil
	}
	up, err := unix.Openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	key, err := keyOf(up)
	return path.Base(at), key, errors.Join(err, unix.Close(up))
}

// inside says whether a path of the host is below a watched home.
func (t *tree) inside(at string) bool {
	for i := 1; i < len(at); i++ {
		j := strings.IndexByte(at[i:], '/')
		if j < 0 {
			return false
		}
		if i += j; t.roots[at[:i]] {
			return true
		}
	}
	return false
}

// open opens a folder by its key, as a place only. The caller closes it.
func (t *tree) open(key []byte) (fd int, err error) {
	disk := t.disks[diskOf(key)]
	if disk == nil {
		return -1, unix.ESTALE // not one of ours
	}
	wait := 10 * time.Microsecond
	for begun := time.Now(); ; wait = min(2*wait, time.Millisecond) {
		err = retry(func() error {
			fd, err = unix.OpenByHandleAt(int(disk.Fd()), handleOf(key), unix.O_PATH|unix.O_CLOEXEC)
			return err
		})
		if !errors.Is(err, unix.ENOMEM) || time.Since(begun) > beingMade {
			return fd, err
		}
		time.Sleep(wait)
	}
}

// exists says whether there is a name in a folder now. It follows no link.
func (t *tree) exists(r record) bool {
	fd, err := t.open(r.key) // one that cannot be opened is gone
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return retry(func() error { return unix.Fstatat(fd, string(r.name), &st, unix.AT_SYMLINK_NOFOLLOW) }) == nil
}

// made takes in that a folder was made in one that is known.
func (t *tree) made(key []byte, parent *node, name string) {
	if key != nil && t.nodes[string(key)] == nil && len(t.nodes) < t.most {
		t.nodes[string(key)] = &node{parent: parent, name: name}
	}
}

// moved takes in that a folder has another place, which it has by now: events that
// follow may move it again, or are merged into earlier ones.
func (t *tree) moved(key []byte) error {
	n, ok := t.nodes[string(key)]
	if !ok || n.home != nil {
		return nil
	}
	now, err := t.look(key)
	if err != nil {
		return err
	}
	if n == outside {
		t.nodes[string(key)] = now
		return nil
	}
	n.parent, n.name = now.parent, now.name
	return nil
}
