package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// How a home's limit is kept.
const (
	EnforcedNot      = "none"          // there is no limit
	EnforcedProject  = "project quota" // by the kernel, at each write
	EnforcedMeasured = "measured"      // by walks, and by freezing who goes on writing (Guard)
)

const (
	// bytesPerFile is how much of a byte limit gives one inode.
	bytesPerFile = 8 << 10
	// minFiles is the least inode limit of a home with a limit.
	minFiles = 10_000
	// maxWalked bounds a walk of a home without a limit.
	maxWalked = 20_000_000
	// walkLimit bounds a walk's time: a home that is changed as fast as it is
	// read has no end.
	walkLimit = 5 * time.Minute
	// freshFor is how long a measurement is good for somebody who asks.
	freshFor = time.Minute
)

// Usage is what a home holds.
type Usage struct {
	Bytes     int64         // of disk blocks; a file with several links counts once
	Files     int64         // inodes: files, folders, links
	Limit     int64         // bytes; 0: none
	FileLimit int64         // inodes; 0: none
	Enforced  string        // EnforcedNot, EnforcedProject or EnforcedMeasured
	At        time.Time     // when it was measured
	AtLeast   bool          // the walk ended early, or was not let in everywhere: it holds more than this
	Cost      time.Duration // of the walk; 0 where the kernel counts
}

// Full says whether the home is at its limit.
func (u Usage) Full() bool { return u.Share() >= 1 }

// Share is how much of the limit is used, of bytes or inodes, whichever is
// more; 0 without a limit.
func (u Usage) Share() float64 {
	share := 0.0
	if u.Limit > 0 {
		share = float64(u.Bytes) / float64(u.Limit)
	}
	if u.FileLimit > 0 {
		share = max(share, float64(u.Files)/float64(u.FileLimit))
	}
	return share
}

// fileLimit is the inode limit that goes with a byte limit: small files fill a
// disk's inodes long before its blocks.
func fileLimit(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	return max(minFiles, bytes/bytesPerFile)
}

// home is what is known of one home.
type home struct {
	walking sync.Mutex // one walk at a time
	limit   int64
	kernel  bool  // the limit is the kernel's to keep
	last    Usage // At is zero before the first measurement
	ledger  ledger
}

func (v *Volumes) home(ws station.Workstation) *home {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.homes == nil {
		v.homes = map[station.ID]*home{}
	}
	h := v.homes[ws.ID]
	if h == nil {
		h = &home{}
		v.homes[ws.ID] = h
	}
	return h
}

// project is the number of a home's project, as unique as the uid range.
func project(ws station.Workstation) uint32 {
	return uint32(station.HostUID(ws.UIDRange, station.SandboxUID))
}

// openHome opens a home's folder. The error wraps station.ErrNotFound when
// there is none.
func (v *Volumes) openHome(ws station.Workstation) (int, error) {
	if err := check(ws); err != nil {
		return -1, err
	}
	homes, err := v.root.Open(homesDir)
	if err != nil {
		return -1, fmt.Errorf("open the homes: %w", err)
	}
	defer homes.Close()
	fd, err := unix.Openat(int(homes.Fd()), string(ws.ID), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, station.Errorf(station.ErrNotFound, "no_home", "The workstation has no home yet; make a session first.")
	}
	if err != nil {
		return -1, fmt.Errorf("open the home: %w", err)
	}
	return fd, nil
}

// SetQuota bounds what a home may hold; 0 bytes is no bound. The number of
// inodes is bounded with it, one for each 8 KiB and 10,000 at least. Where the
// file system has project quotas in force and the server is root, the kernel
// keeps the bound; else, and when the kernel refuses to, a Guard does, by
// measuring. The home must be there (station.ErrNotFound). Calling it again with
// the same number costs little.
func (v *Volumes) SetQuota(ctx context.Context, ws station.Workstation, bytes int64) error {
	fd, err := v.openHome(ws)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	kernel, err := v.kernelQuota(ctx, fd, ws, bytes)
	h := v.home(ws)
	v.mu.Lock()
	defer v.mu.Unlock()
	h.limit, h.kernel = bytes, kernel
	return err
}

// projectLimit gives a home's bound to the kernel, where that keeps any.
func (v *Volumes) projectLimit(ctx context.Context, home int, ws station.Workstation, bytes int64) (kernel bool, err error) {
	if !v.own || projectQuota(home) != nil || bytes == 0 && !inProject(home, project(ws)) {
		return false, nil
	}
	if err := joinProject(ctx, home, project(ws)); err != nil {
		return false, fmt.Errorf("put the home into its project: %w", err)
	}
	err = setProjectLimit(home, project(ws), bytes, fileLimit(bytes))
	return err == nil, err
}

// Usage is what a home holds: asked of the kernel where it counts, else as last
// measured; what is too old, or never was, is measured now. Errors wrap
// station.ErrNotFound when there is no home.
func (v *Volumes) Usage(ctx context.Context, ws station.Workstation) (Usage, error) {
	if err := check(ws); err != nil {
		return Usage{}, err
	}
	h := v.home(ws)
	v.mu.Lock()
	last, kernel := v.stated(h), h.kernel
	v.mu.Unlock()
	if !kernel && last.fresh() {
		return last, nil
	}
	return v.measure(ctx, ws, func(u Usage) bool { return !kernel && u.fresh() })
}

// fresh says whether a measurement is good for somebody who asks: so a walk takes
// at most one part in fifty of the time for whoever asks often.
func (u Usage) fresh() bool { return time.Since(u.At) <= freshFor+49*u.Cost }

// stated is the last measurement with the limits as they are now; v.mu is held.
func (v *Volumes) stated(h *home) Usage {
	u := h.last
	u.Limit, u.FileLimit = h.limit, fileLimit(h.limit)
	switch {
	case h.limit == 0:
		u.Enforced = EnforcedNot
	case h.kernel:
		u.Enforced = EnforcedProject
	default:
		u.Enforced = EnforcedMeasured
	}
	return u
}

// Measure measures a home now: it asks the kernel where that counts, else walks
// the home. A walk follows no link and leaves the file system of the home
// nowhere. One that was cut off (too many files, changed faster than it could be
// read) gives what it saw, or what was known before where that is more.
func (v *Volumes) Measure(ctx context.Context, ws station.Workstation) (Usage, error) {
	return v.measure(ctx, ws, func(Usage) bool { return false })
}

// measure is Measure unless, once its turn has come, the last measurement will do.
func (v *Volumes) measure(ctx context.Context, ws station.Workstation, willDo func(Usage) bool) (Usage, error) {
	fd, err := v.openHome(ws)
	if err != nil {
		return Usage{}, err
	}
	defer unix.Close(fd)
	h := v.home(ws)
	h.walking.Lock()
	defer h.walking.Unlock()
	v.mu.Lock()
	before, kernel := v.stated(h), h.kernel
	v.mu.Unlock()
	if willDo(before) {
		return before, nil
	}
	now := Usage{At: time.Now()}
	if kernel {
		if now.Bytes, now.Files, err = projectUsage(fd, project(ws)); err != nil {
			return Usage{}, err
		}
	} else if err := v.walkHome(ctx, fd, before, &now); err != nil {
		return Usage{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	h.last = now
	return v.stated(h), nil
}

func (v *Volumes) walkHome(ctx context.Context, fd int, before Usage, now *Usage) error {
	most := int64(maxWalked)
	if before.FileLimit > 0 {
		most = 2 * before.FileLimit
	}
	limited, cancel := context.WithTimeout(ctx, walkLimit)
	defer cancel()
	w, err := measureDir(limited, fd, most, nil)
	if w == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if err != nil && !errors.Is(err, errMoved) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	now.Bytes, now.Files, now.AtLeast = w.bytes, w.files, w.cut || err != nil
	if now.AtLeast {
		now.Bytes, now.Files = max(now.Bytes, before.Bytes), max(now.Files, before.Files)
	}
	now.AtLeast = now.AtLeast || w.closed
	now.Cost = time.Since(now.At)
	return nil
}

// forget drops what is known of a home that is gone.
func (v *Volumes) forget(ws station.Workstation) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.homes, ws.ID)
}

// Space is the room on the data directory's file system.
type Space struct {
	Size, Free       int64 // bytes; free to those who are not root
	Files, FreeFiles int64 // inodes; both 0 where the file system does not count them
}

// Space asks for the room on the data directory's file system. It costs about a
// microsecond.
func (v *Volumes) Space() (Space, error) { return spaceOf(v.data) }

func spaceOf(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("ask for the disk's room: %w", &os.PathError{Op: "statfs", Path: filepath.Base(dir), Err: err})
	}
	return Space{
		Size: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize,
		Files: int64(st.Files), FreeFiles: int64(st.Ffree),
	}, nil
}

// kernelCounts says whether a home's usage is the kernel's to count.
func (v *Volumes) kernelCounts(ws station.Workstation) bool {
	h := v.home(ws)
	v.mu.Lock()
	defer v.mu.Unlock()
	return h.kernel
}
