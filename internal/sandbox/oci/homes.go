package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/idmap"
	"staithe/internal/keylock"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Homes of a gateway that is root: on disk the person's files belong to uid 1000
// (station.SandboxUID), whoever the person is, so that a home can be moved to
// another server or user as it is. For the sandbox it is mounted idmapped: there
// 1000 is the user's own host uid, HostUID(range, 1000), and every other id of
// the range is itself. So what the sandbox's root makes never belongs to the
// host's root. Where the kernel or the file system cannot map, the home is
// given to the range instead.
//
// A home of an earlier version, or of a file system that has learnt to map
// since, is converted when no sandbox of its user runs.

// homes decides how homes are mounted. It is safe for concurrent use.
type homes struct {
	turn keylock.Locks[station.ID] // per uid range, while its home is looked at or converted

	mu     sync.Mutex
	using  map[int]int               // starts under way, by range
	spaces map[namespaceKey]*os.File // user namespaces that carry a map
	able   map[uint64]error          // whether a file system can map, by device
}

// namespaceKey names a map of ids.
type namespaceKey struct {
	uidRange int
	image    bool // an image's: every id is the range's own; else a home's
}

// maxSpaces bounds the namespaces that are kept ready.
const maxSpaces = 256

// mountedHome is what an engine binds.
type mountedHome struct {
	source string
	done   func() // call it when the engine has bound it, or never will
}

// mountHome makes the home ready for a start.
func (r *Runtime) mountHome(ctx context.Context, p *prepared, spec sandbox.Spec) (mountedHome, error) {
	if !r.root {
		return mountedHome{spec.Home, func() {}}, nil
	}
	h := &r.homes
	unlock, err := h.turn.Lock(ctx, station.ID(strconv.Itoa(spec.UIDRange)))
	if err != nil {
		return mountedHome{}, err
	}
	defer unlock()
	mapped, err := r.settleOwner(ctx, p, spec)
	if err != nil {
		return mountedHome{}, err
	}
	h.count(spec.UIDRange, 1)
	leave := func() { h.count(spec.UIDRange, -1) }
	if !mapped {
		return mountedHome{spec.Home, leave}, nil
	}
	space, err := h.space(namespaceKey{spec.UIDRange, false})
	if err != nil {
		leave()
		return mountedHome{}, err
	}
	target := filepath.Join(p.stage, "home-"+string(spec.Session))
	if err := p.thread.do(func() error { return mountMapped(spec.Home, target, space, unix.MOUNT_ATTR_NOSUID) }); err != nil {
		leave()
		return mountedHome{}, fmt.Errorf("mount the home: %w", err)
	}
	return mountedHome{target, func() {
		if err := p.thread.do(func() error { return unmountMapped(target) }); err != nil {
			r.log.Warn("a home stays mounted for the runtime alone", "session", spec.Session, "err", err)
		}
		leave()
	}}, nil
}

// settleOwner says whether the home is to be mounted idmapped, after converting
// it where that is due and possible.
func (r *Runtime) settleOwner(ctx context.Context, p *prepared, spec sandbox.Spec) (mapped bool, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(spec.Home, &st); err != nil {
		return false, &os.PathError{Op: "lstat", Path: spec.Home, Err: err}
	}
	own := station.HostUID(spec.UIDRange, station.SandboxUID)
	able := r.homes.canMap(spec.Home, uint64(st.Dev))
	switch {
	case int(st.Uid) == station.SandboxUID && able == nil:
		return true, nil
	case int(st.Uid) == station.SandboxUID:
		if r.inUse(spec) {
			return false, station.Errorf(station.ErrUnavailable, "home_in_use",
				"The home has to be given to its user first; put the user's other sessions to sleep and try again.").Because(able)
		}
		r.log.Warn("homes cannot be mounted idmapped on this file system; this one is given to its user's uid range", "home", spec.Home, "err", able)
		return false, chownHome(ctx, spec.Home, station.SandboxUID, own)
	case int(st.Uid) == own && able == nil && !r.inUse(spec):
		r.log.Info("a home is given to uid 1000: it is mounted idmapped from now on", "home", spec.Home)
		return true, chownHome(ctx, spec.Home, own, station.SandboxUID)
	}
	return false, nil
}

// inUse says whether a sandbox of the user runs or is being started. One whose
// notes cannot be read counts as anyone's, and so does one that cannot be found.
func (r *Runtime) inUse(spec sandbox.Spec) bool {
	r.homes.mu.Lock()
	starting := r.homes.using[spec.UIDRange]
	r.homes.mu.Unlock()
	if starting > 0 {
		return true
	}
	ids, err := r.names()
	if err != nil {
		return true
	}
	for _, id := range ids {
		if id == spec.Session {
			continue // this one is only being made
		}
		rec, err := readRecord(r.dir(id))
		if err != nil && len(r.cgroups.dirs(id)) > 0 || err == nil && rec.Alive() && (rec.UIDRange == nil || *rec.UIDRange == spec.UIDRange) {
			return true
		}
	}
	return false
}

// chownHome gives all in a home that belongs to one id to another, file by
// file, the home itself last: what is cut off in the middle is finished the next
// time. It follows no link; that a file has several names does not matter. Only
// files that have to change are touched.
func chownHome(ctx context.Context, home string, from, to int) error {
	for _, args := range [][]string{
		{fmt.Sprintf("--from=:%d", from), fmt.Sprintf(":%d", to)},
		{fmt.Sprintf("--from=%d", from), strconv.Itoa(to)},
	} {
		args = append([]string{"--recursive", "--no-dereference", "-P"}, append(args, "--", home)...)
		cmd := exec.CommandContext(ctx, "chown", args...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if out, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return station.Errorf(station.ErrUnavailable, "home_converting",
					"The home is large and is still being given to its user; try again to go on.").Because(ctx.Err())
			}
			return fmt.Errorf("give the home to its user: %w: %.500s", err, out)
		}
	}
	return nil
}

func (h *homes) count(uidRange, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.using == nil {
		h.using = map[int]int{}
	}
	if h.using[uidRange] += by; h.using[uidRange] == 0 {
		delete(h.using, uidRange)
	}
}

// canMap tries, once for each file system, whether it can be mounted idmapped.
func (h *homes) canMap(dir string, device uint64) error {
	h.mu.Lock()
	err, known := h.able[device]
	h.mu.Unlock()
	if known {
		return err
	}
	err = idmap.Try(dir)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.able == nil {
		h.able = map[uint64]error{}
	}
	h.able[device] = err
	return err
}

// space is a user namespace that carries a map.
func (h *homes) space(key namespaceKey) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.spaces[key]; f != nil {
		return f, nil
	}
	f, err := idmap.Namespace(key.ids())
	if err != nil {
		return nil, err
	}
	if h.spaces == nil || len(h.spaces) >= maxSpaces {
		// Those in use are held by their mounts; the files close themselves.
		h.spaces = map[namespaceKey]*os.File{}
	}
	h.spaces[key] = f
	return f, nil
}

func (h *homes) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.spaces {
		f.Close()
	}
	h.spaces = nil
}

func (k namespaceKey) ids() []syscall.SysProcIDMap {
	if k.image {
		return idmap.ImageIDs(k.uidRange)
	}
	return idmap.HomeIDs(k.uidRange)
}

// mountMapped mounts dir idmapped on a new folder. It runs on the mount thread.
func mountMapped(dir, target string, space *os.File, flags uint64) error {
	fd, err := idmap.Tree(dir, space, flags)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return errors.Join(&os.PathError{Op: "move_mount", Path: target, Err: err}, os.Remove(target))
	}
	return nil
}

// unmountMapped undoes mountMapped. The sandbox's own bind of it stays.
func unmountMapped(target string) error {
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
		return &os.PathError{Op: "umount", Path: target, Err: err}
	}
	return os.Remove(target)
}
