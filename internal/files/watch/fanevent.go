package watch

import (
	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

const (
	came  = unix.FAN_CREATE | unix.FAN_MOVED_TO
	went  = unix.FAN_DELETE | unix.FAN_MOVED_FROM
	wrote = unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE
)

// renamed is a name that was given or taken away by a rename.
type renamed struct {
	home *home
	at   files.Path
	r    record
	dir  bool
	to   bool // it was given
}

// event takes one of the kernel's in. Watcher.mu is held.
func (f *fanotify) event(e event) {
	if e.mask&unix.FAN_Q_OVERFLOW != 0 {
		f.w.overflowAll(func(h *home) bool { return h.poll == nil })
		return
	}
	if e.at.key == nil {
		return // of a file without a folder, such as one that has lost its last name
	}
	var err error
	if e.mask&unix.FAN_RENAME != 0 {
		err = f.rename(e)
	} else {
		err = f.named(e)
	}
	if err != nil {
		f.w.log.Warn("a changed folder could not be looked up; who watches lists again", "err", err)
		f.w.overflowAll(func(h *home) bool { return h.poll == nil })
	}
}

// place is where a record is; nil: in no watched home.
func (f *fanotify) place(r record) (*home, files.Path, *node, error) {
	n, err := f.tree.node(r.key)
	if err != nil {
		return nil, "", nil, err
	}
	h, at, ok := n.path()
	if !ok {
		return nil, "", outside, nil
	}
	if string(r.name) != "." {
		at = at.Join(string(r.name))
	}
	if len(at) > mostPath {
		return nil, "", outside, nil
	}
	return h, at, n, nil
}

// named is every event but a rename. The kernel merges what happens to one name
// while it waits, and does not say in which order.
func (f *fanotify) named(e event) error {
	dir := e.mask&unix.FAN_ONDIR != 0
	h, at, n, err := f.place(e.at)
	if dir && e.mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0 {
		defer f.tree.forget() // which one was moved is not known
	}
	if err != nil || h == nil {
		return err
	}
	if dir && e.mask&unix.FAN_MOVED_FROM != 0 {
		f.foldersMoved[h]++
	}
	self := string(e.at.name) == "."
	if e.mask&unix.FAN_MOVED_FROM != 0 { // maybe an exchange, whose other half was told first
		f.renamed = append(f.renamed, renamed{h, at, e.at.clone(), dir, false})
	}
	switch {
	case !self && e.mask&came != 0 && e.mask&went != 0:
		h.tell(change{kind: Delete, at: at, dir: dir})
		if f.tree.exists(e.at) {
			h.tell(change{kind: Create, at: at, dir: dir})
		}
		if dir {
			f.tree.drop(e.target)
		}
	case !self && e.mask&came != 0:
		if dir {
			f.tree.made(e.target, n, string(e.at.name))
		}
		h.tell(change{kind: Create, at: at, dir: dir})
	case !self && e.mask&went != 0:
		if dir {
			f.tree.drop(e.target)
		}
		h.tell(change{kind: Delete, at: at, dir: dir})
	case e.mask&wrote != 0:
		h.tell(change{kind: Modify, at: at, dir: dir})
	case e.mask&unix.FAN_ATTRIB != 0:
		h.tell(change{kind: Attrib, at: at, dir: dir})
	}
	return nil
}

func (f *fanotify) rename(e event) error {
	if e.to.key == nil {
		return errBadEvents
	}
	dir := e.mask&unix.FAN_ONDIR != 0
	was, from, _, err := f.place(e.at)
	if err != nil {
		return err
	}
	is, to, _, err := f.place(e.to)
	if err != nil {
		return err
	}
	if dir && e.target != nil {
		if was != is {
			f.tree.forget() // what is in it changed its home, too
		} else if err := f.tree.moved(e.target); err != nil {
			return err
		}
	}
	switch {
	case was == nil && is == nil:
		return nil
	case was == is:
		was.tell(change{kind: Move, at: to, from: from, dir: dir})
	default:
		if was != nil {
			was.tell(change{kind: Delete, at: from, dir: dir})
		}
		if is != nil {
			is.tell(change{kind: Create, at: to, dir: dir})
		}
	}
	f.renamed = append(f.renamed, renamed{was, from, e.at.clone(), dir, false}, renamed{is, to, e.to.clone(), dir, true})
	return nil
}

// settle looks whether the names of the latest renames are there, when all that
// the kernel had was read, and tells where that is otherwise than was told.
func (f *fanotify) settle() {
	for _, n := range f.renamed {
		if n.home == nil {
			continue
		}
		if there := f.tree.exists(n.r); there && !n.to {
			n.home.tell(change{kind: still, at: n.at, dir: n.dir})
		} else if !there && n.to {
			n.home.tell(change{kind: Delete, at: n.at, dir: n.dir})
		}
	}
	f.renamed = f.renamed[:0]
	for h, n := range f.foldersMoved {
		if n > 1 { // what was told of the folders in them may be of where they are by now
			f.w.overflowAll(func(o *home) bool { return o == h })
		}
	}
	clear(f.foldersMoved)
}

// drop forgets a folder that is no more.
func (t *tree) drop(key []byte) {
	if n := t.nodes[string(key)]; n != nil && n.home == nil {
		delete(t.nodes, string(key))
	}
}
