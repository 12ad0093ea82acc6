package files

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Finish gives an upload that is whole its name, with the folders on the way. A
// name that is taken is refused unless the upload replaces or overwrites; what it
// replaces is in the trash, and at no moment is there nothing or half a file. Where it cannot
// be done the upload stays, and can be finished later or removed.
func (u *Upload) Finish(ctx context.Context) (Entry, error) {
	h := u.home
	switch {
	case u.Done:
		return h.now(u.Path)
	case u.Part || u.Offset != u.Size:
		return Entry{}, station.Errorf(station.ErrConflict, "not_whole", "Not all of the upload has arrived; continue it.")
	}
	if parent, _ := u.Path.split(); !parent.Home() {
		if err := h.parents(parent); err != nil {
			return Entry{}, err
		}
	}
	dir, base, err := u.target()
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	stage, err := h.folder(uploadsDir)
	if err != nil {
		return Entry{}, explain(uploadsDir, err)
	}
	defer stage.Close()
	if err := u.dress(dir, base); err != nil {
		return Entry{}, explain(u.Path, err)
	}
	if err := u.commit(ctx, stage, dir, base); err != nil {
		return Entry{}, explain(u.Path, err)
	}
	if err := errors.Join(syncFolder(dir), u.finished(stage)); err != nil {
		return Entry{}, explain(u.Path, err)
	}
	return h.now(u.Path)
}

// dress gives the bytes the file's mode and time.
func (u *Upload) dress(dir *os.File, base string) error {
	f, err := u.open()
	if err != nil {
		return err
	}
	defer f.Close()
	mode := uint32(newMode)
	if u.Mode != nil {
		mode = *u.Mode & 0o777
	} else if st, err := lstat(dir, base); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		mode = st.Mode & 0o777
	}
	if err := f.Chmod(os.FileMode(mode)); err != nil {
		return err
	}
	if err := setTime(f, u.MTime); err != nil {
		return err
	}
	return f.Sync()
}

// commit gives the bytes their name.
func (u *Upload) commit(ctx context.Context, stage, dir *os.File, base string) error {
	u.home.commits.Lock()
	defer u.home.commits.Unlock()
	if u.Overwrite {
		if st, err := lstat(dir, base); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return notRegular(u.Path)
		}
		return retry(func() error { return unix.Renameat(int(stage.Fd()), u.ID, int(dir.Fd()), base) }) // a folder stays
	}
	for range 10 {
		err := renameNoReplace(int(stage.Fd()), u.ID, int(dir.Fd()), base)
		if !errors.Is(err, unix.EEXIST) || !u.Replace {
			return err
		}
		old, err := lstat(dir, base)
		if errors.Is(err, unix.ENOENT) {
			continue // gone this moment
		}
		if err != nil {
			return err
		}
		if old.Mode&unix.S_IFMT == unix.S_IFREG {
			done, err := u.exchange(ctx, stage, dir, base, old)
			if done || err != nil {
				return err
			}
		}
		if _, err := u.home.Trash(ctx, u.Path); err != nil && !errors.Is(err, station.ErrNotFound) {
			return err
		}
	}
	return changed(u.Path)
}

// exchange replaces a file, which gets another name in the trash first, so that
// the one here is never without a file. done is false where it can only be moved
// there.
func (u *Upload) exchange(ctx context.Context, stage, dir *os.File, base string, old unix.Stat_t) (done bool, err error) {
	item, err := u.home.trash(ctx, u.Path, linkName)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	from, to := int(stage.Fd()), int(dir.Fd())
	err = retry(func() error { return unix.Renameat2(from, u.ID, to, base, unix.RENAME_EXCHANGE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
		return true, retry(func() error { return unix.Renameat(from, u.ID, to, base) })
	}
	if err == nil {
		// What came out must be what is in the trash: a session may have put another
		// file there. (The exchange changed its ctime.)
		var got unix.Stat_t
		if got, err = lstat(stage, u.ID); err == nil && got.Ino == old.Ino {
			return true, nil // finished removes it from staging
		}
		err = errors.Join(err, unix.Renameat2(from, u.ID, to, base, unix.RENAME_EXCHANGE))
		if err == nil {
			err = changed(u.Path)
		}
	}
	return false, errors.Join(err, u.home.Purge(context.WithoutCancel(ctx), item.ID))
}

// linkName gives a file another name.
func linkName(a *os.File, aBase string, b *os.File, bBase string) error {
	return retry(func() error { return unix.Linkat(int(a.Fd()), aBase, int(b.Fd()), bBase, 0) })
}

// SweepUploads removes the uploads that were not continued for UploadLife, and
// what belongs to none. It may run while others go on.
func (h *Home) SweepUploads(ctx context.Context) error {
	return h.sweepUploads(ctx, time.Now())
}

func (h *Home) sweepUploads(ctx context.Context, now time.Time) error {
	dir, err := h.folder(uploadsDir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return explain(uploadsDir, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return explain(uploadsDir, err)
	}
	var errs []error
	for _, name := range names {
		id := strings.TrimSuffix(name, recordSuffix)
		life := UploadLife
		if rec, err := readRecord(dir, id); err != nil || !uploadID(id) {
			life = strayLife
		} else if rec.Done {
			life = doneLife
		}
		if now.Sub(newest(dir, id, id+recordSuffix)) < life {
			continue
		}
		errs = append(errs, remove(ctx, dir, id+recordSuffix, 0), remove(ctx, dir, id, 0))
	}
	return explain(uploadsDir, errors.Join(errs...))
}

// newest is when one of these was last written; of what is not there, long ago.
func newest(dir *os.File, names ...string) (t time.Time) {
	for _, name := range names {
		if st, err := lstat(dir, name); err == nil {
			if m := time.Unix(st.Mtim.Unix()); m.After(t) {
				t = m
			}
		}
	}
	return t
}
