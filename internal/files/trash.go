package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// The trash is freedesktop.org's, so that trash-cli, gio and file managers in a
// session see the same: what was thrown away is in files, under its id, and where
// it came from is in info.
const (
	trashFiles Path = ".local/share/Trash/files"
	trashInfo  Path = ".local/share/Trash/info"

	infoSuffix = ".trashinfo"
	infoMax    = 16 << 10 // bytes of one
	infoTime   = "2006-01-02T15:04:05"
)

// Trashed is one thing in the trash.
type Trashed struct {
	ID        Path      `json:"id"`
	Path      Path      `json:"path"` // where it was
	DeletedAt time.Time `json:"deleted_at"`
	Entry     Entry     `json:"entry"` // what it is; its path is in the trash
}

// trash is the open trash.
type trash struct{ files, info *os.File }

func (h *Home) openTrash() (t trash, err error) {
	if t.files, err = h.makeFolder(trashFiles); err != nil {
		return t, err
	}
	if t.info, err = h.makeFolder(trashInfo); err != nil {
		t.files.Close()
	}
	return t, err
}

func (t trash) close() {
	t.files.Close()
	t.info.Close()
}

// Trash puts p into the trash, from where Restore has it back.
func (h *Home) Trash(ctx context.Context, p Path) (Trashed, error) {
	item, err := h.trash(ctx, p, moveName)
	return item, explain(p, err)
}

// trash puts p into the trash in the way that put does it: moves it there, or
// gives it another name there.
func (h *Home) trash(ctx context.Context, p Path, put func(a *os.File, aBase string, b *os.File, bBase string) error) (Trashed, error) {
	dir, base, err := h.place(p)
	if err != nil {
		return Trashed{}, err
	}
	defer dir.Close()
	if trashFiles.within(p) || trashInfo.within(p) || p.within(trashFiles) || p.within(trashInfo) {
		return Trashed{}, station.Errorf(station.ErrConflict, "is_trash", "The trash cannot be put into itself; delete it for good instead.")
	}
	if _, err := lstat(dir, base); err != nil {
		return Trashed{}, explain(p, err)
	}
	t, err := h.openTrash()
	if err != nil {
		return Trashed{}, err
	}
	defer t.close()
	now := time.Now().Truncate(time.Second)
	id, err := t.reserve(ctx, base, h.writeInfo(p, now))
	if err != nil {
		return Trashed{}, explain(p, err)
	}
	if err := put(dir, base, t.files, id); err != nil {
		return Trashed{}, errors.Join(err, unix.Unlinkat(int(t.info.Fd()), id+infoSuffix, 0))
	}
	if err := errors.Join(syncFolder(t.info), syncFolder(t.files), syncFolder(dir)); err != nil {
		return Trashed{}, explain(p, err)
	}
	st, err := lstat(t.files, id)
	if err != nil {
		return Trashed{}, explain(p, err)
	}
	return Trashed{Path(id), p, now.UTC(), h.entry(t.files, trashFiles.Join(id), id, st)}, nil
}

// reserve finds a free id and writes its info, which comes first: then nothing in
// the trash is without.
func (t trash) reserve(ctx context.Context, base, info string) (string, error) {
	stem := base[:min(len(base), maxName-len(infoSuffix)-8)]
	for n := 1; n < 1_000_000; n++ {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		id := stem
		if n > 1 {
			id = fmt.Sprintf("%s.%d", stem, n)
		}
		if _, err := lstat(t.files, id); err == nil {
			continue // of a program that wrote no info
		}
		f, err := open(t.info, id+infoSuffix, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.WriteString(info)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return "", errors.Join(err, unix.Unlinkat(int(t.info.Fd()), id+infoSuffix, 0))
		}
		return id, nil
	}
	return "", station.Errorf(station.ErrConflict, "trash_full", "The trash has too many things of this name; empty it first.")
}

func (h *Home) writeInfo(p Path, at time.Time) string {
	parts := strings.Split(string(p), "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	where := strings.Join(parts, "/")
	if h.inside != "" {
		where = (&url.URL{Path: h.inside}).EscapedPath() + "/" + where
	}
	return "[Trash Info]\nPath=" + where + "\nDeletionDate=" + at.Local().Format(infoTime) + "\n"
}

// readInfo reads where something was and when it was thrown away. Another program
// may have written it, a hostile one too.
func (h *Home) readInfo(t trash, id string) (p Path, at time.Time, err error) {
	f, _, err := openRegular(t.info, id+infoSuffix)
	if err != nil {
		return "", at, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, infoMax))
	if err != nil {
		return "", at, err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "Path":
			if value, err = url.PathUnescape(value); err != nil {
				return "", at, badInfo(id)
			}
			if strings.HasPrefix(value, "/") {
				rest, ok := h.inHome(value)
				if !ok {
					return "", at, badInfo(id)
				}
				value = rest
			}
			if p, err = Path(value).Clean(); err != nil || p.Home() {
				return "", at, badInfo(id)
			}
		case "DeletionDate":
			at, _ = time.ParseInLocation(infoTime, value, time.Local) // another program's; only shown
		}
	}
	if p == "" {
		return "", at, badInfo(id)
	}
	return p, at.UTC(), nil
}

func badInfo(id string) error {
	return station.Errorf(station.ErrConflict, "no_origin",
		"The trash does not say where %q was; say where it should go.", shorten(Path(id)))
}

// oneName says whether an id is a single name.
func oneName(id Path) error {
	if c, err := id.Clean(); err != nil || c.Home() || strings.Contains(string(id), "/") {
		return station.Errorf(station.ErrInvalid, "bad_id", "That is no id of the trash; list the trash.")
	}
	return nil
}

// Restore puts something from the trash back to where it was, or to another
// place, making the folders that are not there. What is there already is never
// replaced. Restoring it is the undo of a Trash.
func (h *Home) Restore(ctx context.Context, id, to Path) (Entry, error) {
	if err := oneName(id); err != nil {
		return Entry{}, err
	}
	t, err := h.openTrash()
	if err != nil {
		return Entry{}, err
	}
	defer t.close()
	if _, err := lstat(t.files, string(id)); err != nil {
		return Entry{}, explain(id, err)
	}
	if to == "" {
		if to, _, err = h.readInfo(t, string(id)); err != nil {
			return Entry{}, explain(id, err)
		}
	}
	if parent, _ := to.split(); !parent.Home() {
		if err := h.parents(parent); err != nil {
			return Entry{}, err
		}
	}
	dir, base, err := h.place(to)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	if err := moveName(t.files, string(id), dir, base); err != nil {
		return Entry{}, explain(to, err)
	}
	err = unix.Unlinkat(int(t.info.Fd()), string(id)+infoSuffix, 0)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if err := errors.Join(err, syncFolder(dir), syncFolder(t.files)); err != nil {
		return Entry{}, explain(to, err)
	}
	return h.now(to)
}

// ListTrash is what is in the trash, the newest first. What has no readable info
// is there with an empty Path.
func (h *Home) ListTrash(ctx context.Context) ([]Trashed, error) {
	t, err := h.openTrash()
	if err != nil {
		return nil, err
	}
	defer t.close()
	names, err := t.files.Readdirnames(-1)
	if err != nil {
		return nil, explain(trashFiles, err)
	}
	out := []Trashed{}
	for _, id := range names {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		st, err := lstat(t.files, id)
		if err != nil {
			continue // gone meanwhile
		}
		p, at, err := h.readInfo(t, id)
		if err != nil {
			p, at = "", time.Unix(st.Ctim.Unix()).UTC()
		}
		out = append(out, Trashed{Path(id), p, at, h.entry(t.files, trashFiles.Join(id), id, st)})
	}
	slices.SortFunc(out, func(a, b Trashed) int {
		if c := b.DeletedAt.Compare(a.DeletedAt); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out, nil
}

// Purge removes one thing of the trash for good.
func (h *Home) Purge(ctx context.Context, id Path) error {
	if err := oneName(id); err != nil {
		return err
	}
	t, err := h.openTrash()
	if err != nil {
		return err
	}
	defer t.close()
	if _, err := lstat(t.files, string(id)); err != nil {
		return explain(id, err)
	}
	if err := remove(ctx, t.files, string(id), 0); err != nil {
		return explain(id, err)
	}
	err = unix.Unlinkat(int(t.info.Fd()), string(id)+infoSuffix, 0)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return explain(id, err)
}
