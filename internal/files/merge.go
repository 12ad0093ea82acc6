package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sort"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// merger moves what was unpacked to its place.
type merger struct {
	h  *Home
	x  *extractor
	at Path // the folder it goes to
}

// folder moves all in one folder into another, which was there.
func (m *merger) folder(from, to *os.File, rel Path) error {
	m.x.note(rel)
	for {
		names, err := from.Readdirnames(1024)
		for _, name := range names {
			if err := m.one(from, to, name, rel.Join(name)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || len(names) == 0 {
			return syncFolder(to)
		}
		if err != nil {
			return err
		}
	}
}

// note takes in that a folder was there before.
func (x *extractor) note(rel Path) {
	d := x.folders[rel]
	d.old = true
	x.folders[rel] = d
}

func (m *merger) one(from, to *os.File, name string, rel Path) error {
	if err := m.x.ctx.Err(); err != nil {
		return err
	}
	err := renameNoReplace(int(from.Fd()), name, int(to.Fd()), name)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	a, err := lstat(from, name)
	if err != nil {
		return err
	}
	b, err := lstat(to, name)
	if err != nil {
		return err
	}
	if a.Mode&unix.S_IFMT == unix.S_IFDIR && b.Mode&unix.S_IFMT == unix.S_IFDIR {
		src, err := openFolder(from, name)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := openFolder(to, name)
		if err != nil {
			return err
		}
		defer dst.Close()
		return m.folder(src, dst, rel)
	}
	same := a.Mode == b.Mode && a.Size == b.Size && (a.Mtim == b.Mtim || a.Mode&unix.S_IFMT == unix.S_IFLNK)
	if !m.x.o.Replace || same {
		m.keep(rel, a)
		return nil
	}
	return m.replace(from, to, name, rel)
}

// replace has what is there put into the trash.
func (m *merger) replace(from, to *os.File, name string, rel Path) error {
	at := rel
	if !m.at.Home() {
		at = m.at + "/" + rel
	}
	if _, err := m.h.Trash(m.x.ctx, at); err != nil && !errors.Is(err, station.ErrNotFound) {
		return err
	}
	return renameNoReplace(int(from.Fd()), name, int(to.Fd()), name)
}

// keep counts what stays as it was, with all that would have gone below it.
func (m *merger) keep(rel Path, st unix.Stat_t) {
	m.x.done.Kept++
	if len(m.x.done.Told) < maxTold {
		m.x.done.Told = append(m.x.done.Told, rel)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		for p := range m.x.folders {
			if p.within(rel) {
				m.x.note(p)
			}
		}
	}
}

// finish gives new folders their modes and times, the deepest first, and counts.
// A folder that a program has replaced meanwhile is let be.
func (m *merger) finish() {
	var list []Path
	for p, d := range m.x.folders {
		if !d.old {
			list = append(list, p)
		}
	}
	sort.Slice(list, func(i, j int) bool { return len(list[i]) > len(list[j]) })
	m.x.done.Folders = len(list)
	m.x.done.Files = max(0, m.x.made-m.x.done.Kept)
	for _, p := range list {
		at := p
		if !m.at.Home() {
			at = m.at + "/" + p
		}
		d := m.x.folders[p]
		f, err := m.h.folder(at)
		if err != nil {
			continue
		}
		mode := d.mode
		if mode == 0 {
			mode = 0o755
		}
		_ = f.Chmod(fs.FileMode(mode)) // its owner may have changed it
		if d.at.Unix() > 0 {
			_ = setTime(f, d.at)
		}
		f.Close()
	}
}
