package files

import (
	"context"
	"errors"
	"iter"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// wasMax is how many names of a snapshot are compared at once; they are kept in
// memory.
const wasMax = 2_000_000

// Was is one name as a snapshot has it. Path counts from the home's top; bytes of
// it that are not UTF-8 are U+FFFD each, as in what restic tells of a snapshot.
type Was struct {
	Path   string    `json:"path"`
	Kind   Kind      `json:"kind"`
	Size   int64     `json:"size,omitempty"`
	Mode   uint32    `json:"mode"`
	MTime  time.Time `json:"mtime"`
	Target string    `json:"target,omitempty"` // of a symlink; as Path
}

// Diff is one thing in which the home differs from a snapshot: what has to happen
// so that it does not.
type Diff struct {
	Path Path   `json:"path"`
	Was  string `json:"was,omitempty"` // its path in the snapshot, as in Was; empty: it has none
	// Change is add, replace, trash (it is not in the snapshot) or mode.
	Change string `json:"change"`
	Size   int64  `json:"size,omitempty"` // of the snapshot's file; trash: of the home's
	Mode   uint32 `json:"mode,omitempty"` // of the snapshot
	Folder bool   `json:"folder,omitempty"`
}

// Compared counts what Compare found.
type Compared struct {
	Adds, Replaces, Trashes, Same int64
	Bytes                         int64 // of the files to add and to replace
	Skipped                       int64 // sockets and devices of the snapshot, which are not restored
}

// lossy is a path as Was has it.
func lossy(p Path) string { return string([]rune(string(p))) }

// Compare says in what the home differs, at top and below, from what was. It
// compares kinds, sizes, times, modes and links' targets; it reads no content.
// The server's own staging and the trash are left out. Differences come in no
// order that counts, but a folder before what is in it.
func (h *Home) Compare(ctx context.Context, top Path, was iter.Seq2[Was, error], found func(Diff) error) (Compared, error) {
	c := comparison{top: top, was: map[string]*wasHere{}, found: found}
	if err := c.take(ctx, was); err != nil {
		return c.done, err
	}
	if err := c.look(ctx, h); err != nil {
		return c.done, explain(top, err)
	}
	for _, w := range c.order {
		if w.seen {
			continue
		}
		if err := c.add(w); err != nil {
			return c.done, err
		}
	}
	return c.done, nil
}

type wasHere struct {
	Was
	seen bool
	// twins are those whose names differ from this one only in bytes that are no
	// UTF-8. All of them are fetched, with their names, to see which is which.
	twins []*wasHere
}

// next is the first of w and its twins that is not seen, or w.
func (w *wasHere) next() *wasHere {
	for _, t := range w.twins {
		if w.seen && !t.seen {
			return t
		}
	}
	return w
}

type comparison struct {
	top   Path
	was   map[string]*wasHere
	order []*wasHere
	found func(Diff) error
	done  Compared
}

// ours are the folders that no restore touches.
func ours(p Path) bool {
	return p.within(stagingDir) || p.within(trashFiles) || p.within(trashInfo)
}

// take reads the snapshot's side. Who has the key can write a repository by hand:
// what is no tree of a home is refused.
func (c *comparison) take(ctx context.Context, was iter.Seq2[Was, error]) error {
	for w, err := range was {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		p, err := Path(w.Path).Clean()
		if err != nil || p.Home() {
			return hostile("it has a name that no file can have")
		}
		if !Path(w.Path).within(Path(lossy(c.top))) {
			return hostile("it has a name outside of what was asked for")
		}
		if ours(p) {
			continue
		}
		twin := c.was[w.Path]
		if twin != nil && !strings.ContainsRune(w.Path, utf8.RuneError) {
			return hostile("it has a name twice")
		}
		if len(c.order) == wasMax {
			return station.Errorf(station.ErrInvalid, "too_many_files",
				"The snapshot has more than %d files there; restore a smaller folder.", wasMax)
		}
		here := &wasHere{Was: w}
		c.order = append(c.order, here)
		if twin != nil {
			twin.twins = append(twin.twins, here)
			continue
		}
		c.was[w.Path] = here
	}
	return nil
}

func hostile(why string) error {
	return station.Errorf(station.ErrConflict, "bad_snapshot", "The snapshot cannot be restored: %s. Take another one.", why)
}

// look walks the home's side.
func (c *comparison) look(ctx context.Context, h *Home) error {
	denied := func(Path) {} // what is in there counts as missing
	if c.top.Home() {
		dir, err := h.folder(".")
		if err != nil {
			return err
		}
		defer dir.Close()
		return walk(ctx, dir, "", 0, c.visit, denied)
	}
	dir, base, err := h.place(c.top)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	err = c.visit(visited{dir, base, c.top, st})
	if errors.Is(err, errSkip) || err == nil && kindOf(st.Mode) != KindFolder {
		return nil
	}
	if err != nil {
		return err
	}
	sub, err := openFolder(dir, base)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	return walk(ctx, sub, c.top, 1, c.visit, denied)
}

// visit compares one name of the home.
func (c *comparison) visit(v visited) error {
	if ours(v.rel) {
		return errSkip
	}
	kind := kindOf(v.st.Mode)
	w := c.was[lossy(v.rel)]
	if w == nil {
		d := Diff{Path: v.rel, Change: "trash", Folder: kind == KindFolder}
		if kind == KindFile {
			d.Size = v.st.Size
		}
		c.done.Trashes++
		return skipFolder(kind, c.found(d))
	}
	unclear := w.seen || len(w.twins) > 0 // by the name
	w = w.next()
	first := !w.seen
	w.seen = true
	d := Diff{Path: v.rel, Was: w.Path, Size: w.Size, Mode: w.Mode & 0o7777, Folder: w.Kind == KindFolder}
	switch {
	case !restorable(w.Kind):
		c.done.Skipped++
		return skipFolder(kind, nil)
	case unclear, w.Kind != kind, kind == KindFile && (!sameFile(w.Was, v.st) || c.newerDatabase(v) || c.ofDatabase(v)), kind == KindSymlink && w.Target != lossy(Path(readlink(v.dir, v.name))):
		d.Change = "replace"
		c.done.Replaces++
		if w.Kind == KindFile && first {
			c.done.Bytes += w.Size
		}
		return skipFolder(kind, c.found(d))
	case kind != KindSymlink && v.st.Mode&0o7777 != w.Mode&0o7777 && v.st.Mode&0o7777 != plainMode(w.Kind, w.Mode):
		d.Change = "mode"
		c.done.Replaces++
		return c.found(d)
	}
	c.done.Same++
	return nil
}

func skipFolder(kind Kind, err error) error {
	if err == nil && kind == KindFolder {
		return errSkip
	}
	return err
}

func sameFile(w Was, st unix.Stat_t) bool {
	return w.Size == st.Size && w.MTime.Equal(time.Unix(st.Mtim.Unix()))
}

// restorable says whether a kind is restored: devices and sockets are not.
func restorable(k Kind) bool {
	return k == KindFile || k == KindFolder || k == KindSymlink || k == KindFIFO
}

// plainMode is a mode as it is restored: a file is not made to run as somebody.
func plainMode(k Kind, mode uint32) uint32 {
	mode &= 0o7777
	if k != KindFolder {
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return mode
}

func (c *comparison) add(w *wasHere) error {
	if !restorable(w.Kind) {
		c.done.Skipped++
		return nil
	}
	c.done.Adds++
	if w.Kind == KindFile {
		c.done.Bytes += w.Size
	}
	return c.found(Diff{Path: Path(w.Path), Was: w.Path, Change: "add", Size: w.Size, Mode: w.Mode & 0o7777, Folder: w.Kind == KindFolder})
}

// openBelow opens the folder of a path below an open one, following no link.
func openBelow(top *os.File, p Path) (dir *os.File, base string, err error) {
	if p, err = p.Clean(); err != nil {
		return nil, "", err
	}
	if p.Home() {
		return nil, "", isHome()
	}
	parent, base := p.split()
	fd := -1
	err = retry(func() error {
		fd, err = unix.Openat2(int(top.Fd()), string(parent), &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(fd), base), base, nil
}
