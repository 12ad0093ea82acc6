package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"staithe/internal/idmap"
	"staithe/internal/station"
)

// TrashLife is how long a removed home can be had back.
const TrashLife = 30 * 24 * time.Hour

const (
	homesDir = "homes"
	trashDir = "trash"
	skelDir  = "/etc/skel"
)

// Volumes are the homes under one data directory. Safe for concurrent use;
// calls for one workstation are the caller's to serialise.
type Volumes struct {
	filled func(user station.ID) bool // somebody else fills this user's new home; nil: nobody's
	data   string
	root   *os.Root
	own    bool // this process is root: homes belong to their users
	// idmapped says whether homes can be mounted idmapped; it is tried once.
	idmapped func() error

	// kernelQuota is projectLimit, but in tests.
	kernelQuota func(ctx context.Context, home int, ws station.Workstation, bytes int64) (bool, error)

	mu    sync.Mutex
	homes map[station.ID]*home // what is known of each
	// reserved is how many bytes all Reservations hold together.
	reserved int64
}

// Open returns the volumes of a data directory, making its folders when they
// are not there. Close it.
func Open(data string) (*Volumes, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, spaceOr("make the data directory", err)
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	for _, dir := range []string{homesDir, trashDir} {
		if err := root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(spaceOr("make the data directory", err), root.Close())
		}
	}
	v := &Volumes{data: data, root: root, own: os.Geteuid() == 0,
		idmapped: sync.OnceValue(func() error { return idmap.Try(data) })}
	v.kernelQuota = v.projectLimit
	return v, nil
}

// Close frees the open folder.
func (v *Volumes) Close() error { return v.root.Close() }

// Path is where a workstation's home is on the host, whether it exists or not.
func (v *Volumes) Path(ws station.Workstation) string {
	return filepath.Join(v.data, homesDir, string(ws.ID))
}

// Create makes a workstation's home with the system's default dotfiles, closed
// to everyone but its user. A home that is there is left as it is. It is there
// whole or not at all. Errors wrap station.ErrNoSpace when the disk is full and
// station.ErrInvalid for a workstation that can have none.
func (v *Volumes) Create(ctx context.Context, ws station.Workstation) error {
	if err := check(ws); err != nil {
		return err
	}
	there, err := v.Exists(ws)
	if err != nil || there {
		return err
	}
	tmp := filepath.Join(homesDir, ".new-"+string(ws.ID))
	if err := v.root.RemoveAll(tmp); err != nil { // of an earlier try that was cut off
		return fmt.Errorf("remove a half-made home: %w", err)
	}
	err = v.build(ctx, tmp, ws)
	if err == nil {
		err = v.root.Rename(tmp, filepath.Join(homesDir, string(ws.ID)))
	}
	if err != nil {
		return errors.Join(spaceOr("make the home", err), v.root.RemoveAll(tmp))
	}
	return nil
}

// Exists says whether the home is there; a link or file in its place is an
// error.
func (v *Volumes) Exists(ws station.Workstation) (bool, error) {
	info, err := v.root.Lstat(filepath.Join(homesDir, string(ws.ID)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the home: %w", err)
	}
	if !info.IsDir() {
		return false, station.Errorf(station.ErrUnavailable, "broken_home",
			"The home of workstation %s is not a folder on the server; restore it from a backup.", ws.ID)
	}
	return true, nil
}

func (v *Volumes) build(ctx context.Context, dir string, ws station.Workstation) error {
	if err := v.root.Mkdir(dir, 0o700); err != nil {
		return err
	}
	home, err := v.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer home.Close()
	if v.filled == nil || !v.filled(ws.User) {
		if err := copySkel(ctx, home, skelDir, func(name string) error { return v.give(home, name, ws) }); err != nil {
			return err
		}
	}
	if err := v.xdg(home, ws); err != nil {
		return err
	}
	// Last: until then nobody but this process can touch what is in it.
	return v.give(home, ".", ws)
}

// WithoutSkel leaves the host's skeleton out of the new homes of those users for
// whom filled is true: somebody else fills them. Call it before any is made.
func (v *Volumes) WithoutSkel(filled func(user station.ID) bool) { v.filled = filled }

// xdg makes the folders where programs keep settings, data and caches, unless the
// skeleton had them.
func (v *Volumes) xdg(home *os.Root, ws station.Workstation) error {
	for _, name := range []string{".config", ".local", ".local/share", ".local/state", ".cache"} {
		err := home.Mkdir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = v.give(home, name, ws)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// give makes a path its user's.
func (v *Volumes) give(home *os.Root, name string, ws station.Workstation) error {
	if !v.own {
		return nil
	}
	id := v.owner(ws)
	return home.Lchown(name, id, id)
}

// owner is the uid and gid that a new home's files have on disk: 1000, which an
// idmapped mount shows as the user's own; where there are none, the uid of the
// user's range itself.
func (v *Volumes) owner(ws station.Workstation) int {
	if v.idmapped() == nil {
		return station.SandboxUID
	}
	return station.HostUID(ws.UIDRange, station.SandboxUID)
}

// Trash takes a home out of use; it is purged after TrashLife. A home that is
// not there is no error.
func (v *Volumes) Trash(ctx context.Context, ws station.Workstation, now time.Time) error {
	if err := errors.Join(ctx.Err(), check(ws)); err != nil {
		return err
	}
	from := filepath.Join(homesDir, string(ws.ID))
	for n := now.Unix(); ; n++ { // the next second's name when one of this second is taken
		to := filepath.Join(trashDir, fmt.Sprintf("%s-%d", ws.ID, n))
		if _, err := v.root.Lstat(to); err == nil {
			continue
		}
		err := v.root.Rename(from, to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move the home to the trash: %w", err)
		}
		v.forget(ws)
		return nil
	}
}

// Purge removes for good what has been in the trash longer than TrashLife. It
// goes on past what it cannot remove and returns why.
func (v *Volumes) Purge(ctx context.Context, now time.Time) error {
	dir, err := v.root.Open(trashDir)
	if err != nil {
		return fmt.Errorf("open the trash: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("read the trash: %w", err)
	}
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		_, stamp, _ := strings.Cut(name, "-")
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || now.Sub(time.Unix(seconds, 0)) <= TrashLife {
			continue // not ours, or not yet
		}
		if err := v.root.RemoveAll(filepath.Join(trashDir, name)); err != nil {
			errs = append(errs, fmt.Errorf("purge %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func check(ws station.Workstation) error {
	if !ws.ID.Valid() {
		return station.Errorf(station.ErrInvalid, "bad_workstation", "The workstation id %+q is not one.", ws.ID)
	}
	return station.CheckUIDRange(ws.UIDRange)
}

// spaceOr says what a full disk means to a person; other errors keep what was
// tried.
func spaceOr(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return station.Errorf(station.ErrNoSpace, "disk_full",
			"The server's disk is full; free some space in its data directory and try again.").Because(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
