package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// What is to come into a home from outside, such as from a backup, is made in a
// folder beside the homes that only the server reaches: nobody can race with it.
// It is made the user's and then moved into the home, whole.

const stagedPrefix = ".restore-"

func staged(id station.ID) (string, error) {
	if !id.Valid() {
		return "", station.Errorf(station.ErrInvalid, "bad_id", "That is no restore's id; list the restores.")
	}
	return filepath.Join(homesDir, stagedPrefix+string(id)), nil
}

// Stage makes an empty folder of that id for something that will come into a
// workstation's home, and returns its path on the host. What is made in it
// counts for the home's project, where there is one.
func (v *Volumes) Stage(ws station.Workstation, id station.ID) (path string, err error) {
	name, err := staged(id)
	if err != nil {
		return "", err
	}
	home, err := v.openHome(ws)
	if err != nil {
		return "", err
	}
	defer unix.Close(home)
	if err := v.root.RemoveAll(name); err != nil {
		return "", fmt.Errorf("remove what was staged: %w", err)
	}
	if err := v.root.Mkdir(name, 0o700); err != nil {
		return "", spaceOr("make a staging folder", err)
	}
	if inProject(home, project(ws)) {
		dir, err := v.root.Open(name)
		if err != nil {
			return "", fmt.Errorf("open the staging folder: %w", err)
		}
		defer dir.Close()
		if err := setProject(int(dir.Fd()), project(ws), true); err != nil {
			return "", err
		}
	}
	return filepath.Join(v.data, name), nil
}

// Staged says whether there is a staging folder of that id.
func (v *Volumes) Staged(id station.ID) bool {
	name, err := staged(id)
	if err != nil {
		return false
	}
	_, err = v.root.Lstat(name)
	return err == nil
}

// Unstage removes a staging folder. One that is not there is no error.
func (v *Volumes) Unstage(id station.ID) error {
	name, err := staged(id)
	if err != nil {
		return err
	}
	if err := v.root.RemoveAll(name); err != nil {
		return fmt.Errorf("remove what was staged: %w", err)
	}
	return nil
}

// AllStaged lists the ids of all staging folders.
func (v *Volumes) AllStaged() ([]station.ID, error) {
	dir, err := v.root.Open(homesDir)
	if err != nil {
		return nil, fmt.Errorf("open the homes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read the homes: %w", err)
	}
	var ids []station.ID
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, stagedPrefix); ok && station.ID(id).Valid() {
			ids = append(ids, station.ID(id))
		}
	}
	return ids, nil
}

// Tame makes all in a staging folder plain and its user's: nothing in it runs as
// somebody, is a device or a socket, or belongs to another. It returns how many
// were removed. Call it when nothing works in the folder any more. The folder
// itself becomes the user's last, in Adopt.
func (v *Volumes) Tame(ctx context.Context, ws station.Workstation, id station.ID) (removed int, err error) {
	name, err := staged(id)
	if err != nil {
		return 0, err
	}
	root, err := v.root.OpenRoot(name)
	if err != nil {
		return 0, fmt.Errorf("open the staging folder: %w", err)
	}
	defer root.Close()
	t := tamer{ctx: ctx, root: root, owner: -1}
	if v.own {
		t.owner = v.owner(ws)
	}
	if err := t.walk("."); err != nil {
		return t.removed, fmt.Errorf("make what was staged the user's: %w", err)
	}
	return t.removed, nil
}

// tamer is one Tame. Names can be any bytes, which fs.WalkDir does not take.
type tamer struct {
	ctx     context.Context
	root    *os.Root
	owner   int // -1: all belongs to this account anyway
	removed int
}

func (t *tamer) walk(dir string) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	f, err := t.root.Open(dir)
	if t.owner < 0 && errors.Is(err, fs.ErrPermission) {
		return nil // closed to its owner: what is in it is this account's and plain, or closed too
	}
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := t.one(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tamer) one(p string) error {
	info, err := t.root.Lstat(p)
	if err != nil {
		return err
	}
	mode := info.Mode()
	switch mode.Type() {
	case fs.ModeDir:
		if err := t.walk(p); err != nil {
			return err
		}
	case 0, fs.ModeSymlink, fs.ModeNamedPipe:
	default:
		t.removed++
		return t.root.Remove(p)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); t.owner >= 0 && (!ok || int(st.Uid) != t.owner || int(st.Gid) != t.owner) {
		if err := t.root.Lchown(p, t.owner, t.owner); err != nil {
			return err
		}
	}
	keep := fs.ModePerm | fs.ModeSticky
	if mode.IsDir() {
		keep |= fs.ModeSetgid
	}
	// Giving a file away takes such bits as well; a folder's come back.
	if mode.Type() != fs.ModeSymlink && (mode&(fs.ModeSetuid|fs.ModeSetgid) != 0) {
		return t.root.Chmod(p, mode&keep)
	}
	return nil
}

// Adopt moves a staging folder into the home, to a path from its top that must
// be free. Links on the way are followed only as far as they stay in the home.
func (v *Volumes) Adopt(ws station.Workstation, id station.ID, to string) error {
	name, err := staged(id)
	if err != nil {
		return err
	}
	home, err := v.openHome(ws)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	dir, err := unix.Openat2(home, filepath.Dir(to), &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return fmt.Errorf("open the home's staging folder: %w", err)
	}
	defer unix.Close(dir)
	homes, err := v.root.Open(homesDir)
	if err != nil {
		return fmt.Errorf("open the homes: %w", err)
	}
	defer homes.Close()
	if v.own {
		own := v.owner(ws)
		if err := unix.Fchownat(int(homes.Fd()), filepath.Base(name), own, own, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("give what was staged away: %w", err)
		}
	}
	err = unix.Renameat2(int(homes.Fd()), filepath.Base(name), dir, filepath.Base(to), unix.RENAME_NOREPLACE)
	if err != nil {
		return spaceOr("move what was staged into the home", os.NewSyscallError("renameat2", err))
	}
	return nil
}
