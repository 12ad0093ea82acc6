package watch

import (
	"os"
	"path"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

// take takes inotify's events in. It returns true when the home must be looked
// over now.
func (p *poll) take(list []heard) bool {
	defer p.settle()
	for _, e := range list {
		if p.ino == nil {
			return true // what is left in the channel is of a watch that was given up
		}
		if e.mask&unix.IN_Q_OVERFLOW != 0 {
			p.overflow()
			return true
		}
		b := p.ino.byWD[e.wd]
		if b == nil {
			continue
		}
		if e.mask&unix.IN_IGNORED != 0 {
			p.ino.drop(b)
			continue
		}
		p.one(b, e)
	}
	return p.ino == nil
}

func (p *poll) one(b *branch, e heard) {
	dir := e.mask&unix.IN_ISDIR != 0
	at := b.path()
	if e.name != "" {
		at = at.Join(e.name)
	}
	if len(at) > mostPath {
		return
	}
	if h := p.ino.half; h != nil && (e.mask&unix.IN_MOVED_TO == 0 || e.cookie != h.cookie) {
		p.giveUp()
	}
	switch {
	case e.mask&unix.IN_MOVED_FROM != 0:
		p.ino.half = &half{cookie: e.cookie, from: at, kid: b.kids[e.name], dir: dir}
	case e.mask&unix.IN_MOVED_TO != 0 && p.ino.half != nil:
		h := p.ino.half
		p.ino.half = nil
		p.tell(change{kind: Move, at: at, from: h.from, dir: dir})
		p.left = append(p.left, change{at: h.from, dir: dir})
		if old := b.kids[e.name]; old != nil && old != h.kid {
			p.ino.drop(old)
		}
		if h.kid != nil {
			p.doubt = !h.kid.place(b, e.name) || p.doubt
		} else if dir {
			p.found(b, e.name, at)
		}
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		p.tell(change{kind: Create, at: at, dir: dir})
		if dir {
			p.found(b, e.name, at)
		}
	case e.mask&unix.IN_DELETE != 0:
		p.tell(change{kind: Delete, at: at, dir: dir})
	case e.mask&(unix.IN_MODIFY|unix.IN_CLOSE_WRITE) != 0:
		p.tell(change{kind: Modify, at: at, dir: dir})
	case e.mask&unix.IN_ATTRIB != 0:
		p.tell(change{kind: Attrib, at: at, dir: dir})
	}
}

// giveUp takes a move whose second half does not come as what it is: gone.
func (p *poll) giveUp() {
	if p.ino == nil || p.ino.half == nil {
		return
	}
	h := p.ino.half
	p.ino.half = nil
	if h.kid != nil {
		p.ino.drop(h.kid)
	}
	p.tell(change{kind: Delete, at: h.from, dir: h.dir})
}

// found watches a folder that is new, and tells what is in it already.
func (p *poll) found(b *branch, name string, at files.Path) {
	up := p.open(b.path())
	if up == nil {
		p.doubt = true
		return
	}
	defer up.Close()
	var st unix.Stat_t
	if unix.Fstat(int(up.Fd()), &st) != nil || st.Ino != b.ino {
		p.doubt = true // its path is another's by now
		return
	}
	dir, err := openIn(up, name)
	if err != nil {
		return // gone again
	}
	defer dir.Close()
	p.folder(dir, at, b, name, 0, func(at files.Path, _ uint64, dir bool) {
		p.tell(change{kind: Create, at: at, dir: dir})
	})
}

// settle tells of names that were moved away and are there all the same: an
// exchange is told as two moves, of which the second takes the first back.
func (p *poll) settle() {
	for _, c := range p.left {
		dir := p.open(files.Path(path.Dir(string(c.at))))
		if dir == nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), c.at.Base(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			p.tell(change{kind: still, at: c.at, dir: c.dir})
		}
		dir.Close()
	}
	p.left = p.left[:0]
}

// open opens a folder of the home, and goes through no link; nil when it is gone.
func (p *poll) open(at files.Path) *os.File {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(p.top.Fd()), string(at), &how)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "")
}
