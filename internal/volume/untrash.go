package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// TrashedHome is a deleted user's home that is still there.
type TrashedHome struct {
	Name        string // in the trash
	Workstation station.ID
	At          time.Time // when it was thrown away
}

var trashedName = regexp.MustCompile(`^[a-z0-9]{12}-[0-9]{1,12}$`)

// Trashed lists the homes in the trash, the oldest first.
func (v *Volumes) Trashed() ([]TrashedHome, error) {
	dir, err := v.root.Open(trashDir)
	if err != nil {
		return nil, fmt.Errorf("open the trash: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read the trash: %w", err)
	}
	var out []TrashedHome
	for _, name := range names {
		id, stamp, _ := strings.Cut(name, "-")
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if err == nil && trashedName.MatchString(name) {
			out = append(out, TrashedHome{name, station.ID(id), time.Unix(seconds, 0)})
		}
	}
	slices.SortFunc(out, func(a, b TrashedHome) int { return a.At.Compare(b.At) })
	return out, nil
}

// Untrash moves a home from the trash into another's, as a folder at its top, and
// makes all in it that user's. It returns the folder's name. The error wraps
// station.ErrNotFound when there is no such home in the trash.
func (v *Volumes) Untrash(ctx context.Context, name string, ws station.Workstation) (folder string, err error) {
	if !trashedName.MatchString(name) {
		return "", notTrashed()
	}
	home, err := v.openHome(ws)
	if err != nil {
		return "", err
	}
	defer unix.Close(home)
	from := filepath.Join(trashDir, name)
	if info, err := v.root.Lstat(from); err != nil || !info.IsDir() {
		return "", notTrashed()
	}
	// The trash is out of users' reach, so nobody races with this.
	root, err := v.root.OpenRoot(from)
	if err != nil {
		return "", fmt.Errorf("open the home in the trash: %w", err)
	}
	defer root.Close()
	t := tamer{ctx: ctx, root: root, owner: -1}
	if v.own {
		t.owner = v.owner(ws)
	}
	if err := t.walk("."); err != nil {
		return "", fmt.Errorf("make the home the user's: %w", err)
	}
	dir, err := root.Open(".")
	if err != nil {
		return "", fmt.Errorf("open the home in the trash: %w", err)
	}
	defer dir.Close()
	if v.own {
		if err := dir.Chown(t.owner, t.owner); err != nil {
			return "", fmt.Errorf("make the home the user's: %w", err)
		}
	}
	if inProject(home, project(ws)) {
		if err := joinProject(ctx, int(dir.Fd()), project(ws)); err != nil {
			return "", err
		}
	}
	trash, err := v.root.Open(trashDir)
	if err != nil {
		return "", fmt.Errorf("open the trash: %w", err)
	}
	defer trash.Close()
	folder = "home of " + name
	if err := unix.Renameat2(int(trash.Fd()), name, home, folder, unix.RENAME_NOREPLACE); err != nil {
		return "", spaceOr("move the home out of the trash", os.NewSyscallError("renameat2", err))
	}
	return folder, nil
}

func notTrashed() error {
	return station.Errorf(station.ErrNotFound, "not_in_trash", "There is no such home in the trash; `staithe admin trash` lists them.")
}
