package files

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what a name stands for.
type Kind string

// The kinds there are.
const (
	KindFile    Kind = "file"
	KindFolder  Kind = "folder"
	KindSymlink Kind = "symlink"
	KindFIFO    Kind = "fifo"
	KindSocket  Kind = "socket"
	KindDevice  Kind = "device"
)

// Entry is what is known of one name.
type Entry struct {
	Path  Path      `json:"path"` // from the home's top, in percent form
	Name  Path      `json:"name"` // its last part
	Kind  Kind      `json:"kind"`
	Size  int64     `json:"size"` // of a file, in bytes; else 0
	Mode  uint32    `json:"mode"` // permission bits, 0 to 07777
	MTime time.Time `json:"mtime"`
	// Target is a symlink's text, which is shown and never followed by the page.
	Target Text `json:"target,omitempty"`
	// LeadsTo is the kind at the end of a symlink; empty: nothing, or outside.
	LeadsTo Kind `json:"leads_to,omitempty"`
	// ETag is a strong one, quoted, of a file that was asked for by itself.
	ETag string `json:"etag,omitempty"`
}

// settling is longer than the coarsest clock of file systems (a tick of 100 Hz).
// A file that was changed within it may change again without another time.
const settling = 20 * time.Millisecond

// Stat is what p is, a file with its ETag; a symlink is itself. The home can be
// asked for.
func (h *Home) Stat(ctx context.Context, p Path) (Entry, error) {
	return h.stat(p, func(look func() (unix.Stat_t, error)) (unix.Stat_t, error) { return settled(ctx, look) })
}

// Look is Stat at once, without an ETag.
func (h *Home) Look(p Path) (Entry, error) { return h.now(p) }

// now is what p is this moment: without an ETag, which may have to be waited for.
func (h *Home) now(p Path) (Entry, error) {
	e, err := h.stat(p, func(look func() (unix.Stat_t, error)) (unix.Stat_t, error) { return look() })
	e.ETag = ""
	return e, err
}

func (h *Home) stat(p Path, when func(look func() (unix.Stat_t, error)) (unix.Stat_t, error)) (Entry, error) {
	if p.Home() {
		info, err := h.root.Stat(".")
		if err != nil {
			return Entry{}, explain(p, err)
		}
		return Entry{Path: ".", Name: ".", Kind: KindFolder, Mode: uint32(info.Mode().Perm()), MTime: info.ModTime()}, nil
	}
	dir, base, err := h.place(p)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	st, err := when(func() (unix.Stat_t, error) { return lstat(dir, base) })
	if err != nil {
		return Entry{}, explain(p, err)
	}
	e := h.entry(dir, p, base, st)
	if e.Kind == KindFile {
		e.ETag = etag(st)
	}
	return e, nil
}

// entry makes an Entry of what was seen in an open folder.
func (h *Home) entry(dir *os.File, p Path, base string, st unix.Stat_t) Entry {
	e := Entry{Path: p, Name: Path(base), Kind: kindOf(st.Mode), Mode: st.Mode & 0o7777, MTime: time.Unix(st.Mtim.Unix()).UTC()}
	switch e.Kind {
	case KindFile:
		e.Size = st.Size
	case KindSymlink:
		e.Target = readlink(dir, base)
		e.LeadsTo = h.leadsTo(p)
	}
	return e
}

// leadsTo is the kind at the end of a link, when that is in the home.
func (h *Home) leadsTo(p Path) Kind {
	real, err := h.resolve(p)
	if err != nil {
		return ""
	}
	if real.Home() {
		return KindFolder
	}
	dir, base, err := h.place(real)
	if err != nil {
		return ""
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if err != nil {
		return ""
	}
	return kindOf(st.Mode)
}

func readlink(dir *os.File, base string) Text {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), base, buf)
	if err != nil {
		return "" // gone or changed meanwhile
	}
	return Text(buf[:n])
}

func kindOf(mode uint32) Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return KindFile
	case unix.S_IFDIR:
		return KindFolder
	case unix.S_IFLNK:
		return KindSymlink
	case unix.S_IFIFO:
		return KindFIFO
	case unix.S_IFSOCK:
		return KindSocket
	}
	return KindDevice
}

// etag names one content of a file. It is strong for what is settled.
func etag(st unix.Stat_t) string {
	return fmt.Sprintf(`"%x-%x-%x-%x-%x"`, uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
}

// settled looks at a file until its last change is long enough ago for the next
// one to have another time. A file that never rests is taken as it is.
func settled(ctx context.Context, look func() (unix.Stat_t, error)) (unix.Stat_t, error) {
	for try := 0; ; try++ {
		st, err := look()
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || try == 5 {
			return st, err
		}
		age := time.Since(time.Unix(st.Ctim.Unix()))
		if age > settling || age < -time.Second { // the clock was set back: waiting does not help
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-time.After(settling - age + time.Millisecond):
		}
	}
}
