package files

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Mkdir makes a folder, with parents also those on the way that are not there.
// That it is there already is an error, with parents it is none. mode 0 is 0755.
func (h *Home) Mkdir(ctx context.Context, p Path, mode uint32, parents bool) (Entry, error) {
	if mode == 0 {
		mode = 0o755
	}
	if parents {
		if parent, _ := p.split(); !parent.Home() {
			if err := h.parents(parent); err != nil {
				return Entry{}, err
			}
		}
	}
	dir, base, err := h.place(p)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	err = unix.Mkdirat(int(dir.Fd()), base, mode&0o777)
	if errors.Is(err, unix.EEXIST) && parents {
		if e, serr := h.now(p); serr == nil && (e.Kind == KindFolder || e.LeadsTo == KindFolder) {
			return e, nil
		}
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return Entry{}, explain(p, err)
	}
	return h.now(p)
}

// parents makes the folders down to p that are not there.
func (h *Home) parents(p Path) error {
	p, err := p.Clean()
	if err != nil || p.Home() {
		return err
	}
	dir, err := h.folder(p)
	if errors.Is(err, unix.ENOENT) {
		var real Path
		if real, err = h.resolve(p); err == nil {
			return explain(p, h.root.MkdirAll(dot(real), 0o755))
		}
	}
	if err != nil {
		return explain(p, err)
	}
	return dir.Close()
}

// Symlink makes a link with the text target, which may be anything: it is
// followed only as far as it stays in the home.
func (h *Home) Symlink(ctx context.Context, target string, p Path) (Entry, error) {
	if target == "" || len(target) > maxPath {
		return Entry{}, station.Errorf(station.ErrInvalid, "bad_target", "A link leads to 1 to %d bytes of path.", maxPath)
	}
	dir, base, err := h.place(p)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	if err := unix.Symlinkat(target, int(dir.Fd()), base); err != nil {
		return Entry{}, explain(p, err)
	}
	if err := syncFolder(dir); err != nil {
		return Entry{}, explain(p, err)
	}
	return h.now(p)
}

// Chmod sets the permission bits, 0 to 07777, of a file or folder. It follows no
// link: a link has none of its own.
func (h *Home) Chmod(ctx context.Context, p Path, mode uint32) (Entry, error) {
	if mode > 0o7777 {
		return Entry{}, station.Errorf(station.ErrInvalid, "bad_mode", "A mode is four octal digits, such as 0644.")
	}
	dir, base, err := h.place(p)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	if err := setMode(dir, base, mode); err != nil {
		return Entry{}, explain(p, err)
	}
	return h.now(p)
}

func setMode(dir *os.File, base string, mode uint32) error {
	st, err := lstat(dir, base)
	if err != nil {
		return err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return station.Errorf(station.ErrConflict, "no_mode", "Only files and folders have permissions of their own.")
	}
	f, err := open(dir, base, unix.O_RDONLY, 0)
	if errors.Is(err, unix.EACCES) {
		return chmodAt(dir, base, mode)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fchmod(int(f.Fd()), mode)
}

// Moved says what a move did.
type Moved struct {
	Entry Entry `json:"entry"`
	// Trashed is the id in the trash of what was in the place; empty: nothing was.
	Trashed Path `json:"trashed,omitempty"`
}

// Move gives a file, folder or link another name, a link itself and not what it
// leads to. What is at to already is put into the trash when replace says so;
// else the move is refused.
func (h *Home) Move(ctx context.Context, from, to Path, replace bool) (Moved, error) {
	var out Moved
	a, aBase, err := h.place(from)
	if err != nil {
		return out, err
	}
	defer a.Close()
	b, bBase, err := h.place(to)
	if err != nil {
		return out, err
	}
	defer b.Close()
	if to != from && to.within(from) {
		return out, intoItself(from)
	}
	if _, err := lstat(a, aBase); err != nil {
		return out, explain(from, err)
	}
	err = moveName(a, aBase, b, bBase)
	if errors.Is(err, unix.EEXIST) && replace && !same(a, aBase, b, bBase) {
		if from.within(to) {
			return out, intoItself(to)
		}
		item, terr := h.Trash(ctx, to)
		if terr != nil {
			return out, terr
		}
		out.Trashed = item.ID
		if err = moveName(a, aBase, b, bBase); err != nil {
			// It goes back; when its place was taken again, it is in the trash.
			_, back := h.Restore(context.WithoutCancel(ctx), item.ID, "")
			err = errors.Join(explain(to, err), back)
		}
	}
	if err != nil {
		return out, explain(to, err)
	}
	if err := errors.Join(syncFolder(b), syncFolder(a)); err != nil {
		return out, explain(to, err)
	}
	out.Entry, err = h.now(to)
	return out, err
}

// same says whether two names are of one file.
func same(a *os.File, aBase string, b *os.File, bBase string) bool {
	x, err := lstat(a, aBase)
	y, err2 := lstat(b, bBase)
	return err == nil && err2 == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

func intoItself(p Path) error {
	return station.Errorf(station.ErrConflict, "into_itself", "%q cannot be put into itself; choose a place outside of it.", shorten(p))
}

// moveName renames without replacing. A folder that is closed to its owner is
// opened for the moment: the kernel wants to write its "..".
func moveName(a *os.File, aBase string, b *os.File, bBase string) error {
	err := renameNoReplace(int(a.Fd()), aBase, int(b.Fd()), bBase)
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	st, serr := lstat(a, aBase)
	if serr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o200 != 0 || int(st.Uid) != os.Geteuid() {
		return err
	}
	folder, oerr := openFolder(a, aBase)
	if oerr != nil {
		return err
	}
	defer folder.Close()
	mode := st.Mode & 0o7777
	if unix.Fchmod(int(folder.Fd()), mode|0o200) != nil {
		return err
	}
	err = renameNoReplace(int(a.Fd()), aBase, int(b.Fd()), bBase)
	return errors.Join(err, unix.Fchmod(int(folder.Fd()), mode))
}

// Delete removes p for good, with all that is below it. It is gone at once, also
// when removing it takes long or is cut off.
func (h *Home) Delete(ctx context.Context, p Path) error {
	dir, base, err := h.place(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if err != nil {
		return explain(p, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := unix.Unlinkat(int(dir.Fd()), base, 0); err != nil {
			return explain(p, err)
		}
		return explain(p, syncFolder(dir))
	}
	if stagingDir.within(p) { // it cannot be moved into itself
		return explain(p, remove(ctx, dir, base, 0))
	}
	stage, tmp, err := h.stage()
	if err != nil {
		return explain(p, remove(ctx, dir, base, 0)) // a full disk may have no room for the folder
	}
	defer stage.Close()
	if err := moveName(dir, base, stage, tmp); err != nil {
		return explain(p, err)
	}
	if err := syncFolder(dir); err != nil {
		return explain(p, err)
	}
	return explain(p, remove(context.WithoutCancel(ctx), stage, tmp, 0))
}
