package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

func measure(t *testing.T, dir string, max int64) *walk {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := measureDir(t.Context(), int(d.Fd()), max, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A walk counts blocks, a file with two names once, and nothing behind a link.
func TestWalkCounts(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "big"), 4<<20)
	empty := measure(t, home, 0)
	if empty.files != 1 {
		t.Errorf("an empty home has %d inodes", empty.files)
	}
	write(t, filepath.Join(home, "file"), 1<<20)
	sparse := filepath.Join(home, "sparse")
	err := errors.Join(os.Link(filepath.Join(home, "file"), filepath.Join(home, "again")), os.Mkdir(filepath.Join(home, "d"), 0o700),
		os.Link(filepath.Join(home, "file"), filepath.Join(home, "d", "third")),
		os.Symlink(outside, filepath.Join(home, "out")), os.Symlink(".", filepath.Join(home, "d", "loop")),
		os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 1<<40), unix.Mkfifo(filepath.Join(home, "fifo"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w := measure(t, home, 0)
	if w.files != 7 { // home, file, d, out, loop, sparse, fifo
		t.Errorf("%d inodes, want 7", w.files)
	}
	if more := w.bytes - empty.bytes; more < 1<<20 || more > 1<<20+256<<10 {
		t.Errorf("%d bytes more", more)
	}
}

// A tree deeper than there are descriptors, whose path no system call takes, is
// measured whole.
func TestWalkGoesAsDeepAsItIs(t *testing.T) {
	const deep = 1500
	home := t.TempDir()
	fd, err := unix.Open(home, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range deep {
		if err != nil {
			t.Fatal(err)
		}
		err = unix.Mkdirat(fd, "dd", 0o700)
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/z", fd), []byte("x"), 0o600)
		}
		below := -1
		if err == nil {
			below, err = unix.Openat(fd, "dd", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
		unix.Close(fd)
		fd = below
	}
	unix.Close(fd)
	var before, after syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	after = syscall.Rlimit{Cur: 256, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &after); err != nil {
		t.Fatal(err)
	}
	w := measure(t, home, 0)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if w.files != 2*deep+1 {
		t.Errorf("%d inodes, want %d", w.files, 2*deep+1)
	}
}

// A walk ends at its bound, at another file system, and when it is told to.
func TestWalkEnds(t *testing.T) {
	home := t.TempDir()
	if _, err := fillFiles(home, 3*lookEvery); err != nil {
		t.Fatal(err)
	}
	if w := measure(t, home, lookEvery); !w.cut || w.files > 2*lookEvery+1 {
		t.Errorf("cut %v after %d", w.cut, w.files)
	}
	d, err := os.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measureDir(ctx, int(d.Fd()), 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, other file systems in a home: needs root to mount one; run the tests as root")
	}
	other := filepath.Join(home, "other")
	if err := errors.Join(os.Mkdir(other, 0o700), syscall.Mount("small", other, "tmpfs", 0, "size=64k")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(other, syscall.MNT_DETACH)
	if err := os.WriteFile(filepath.Join(other, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if w := measure(t, home, 0); w.files != 3*lookEvery+1 {
		t.Errorf("%d inodes with a mount inside", w.files)
	}
}

// Somebody who moves folders away while they are measured leads the walk
// nowhere else.
func TestWalkOfWhatIsMovedAway(t *testing.T) {
	v := open(t, t.TempDir())
	ws := station.Workstation{ID: station.NewID()}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(v.Path(ws), "a")
	deep := filepath.Join(top, strings.Repeat("d/", walkDescriptors+20))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	whole, err := v.Measure(t.Context(), ws)
	if err != nil || whole.AtLeast {
		t.Fatal(whole, err)
	}
	fd, err := v.openHome(ws)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	count := 0
	_, err = measureDir(t.Context(), fd, 0, func(_ int, name string) error {
		if name == "d" {
			count++
		}
		if count == walkDescriptors+10 { // levels above are closed by now
			count++
			return os.Rename(filepath.Join(top, "d", "d", "d"), filepath.Join(v.Path(ws), "b"))
		}
		return nil
	})
	if !errors.Is(err, errMoved) {
		t.Errorf("moved late: %v", err)
	}
}

// Measuring is for nobody's patience: the answer of a moment ago is good, and
// what is not there is said.
func TestUsage(t *testing.T) {
	v := open(t, t.TempDir())
	ws := station.Workstation{ID: station.NewID()}
	if _, err := v.Usage(t.Context(), ws); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("without a home: %v", err)
	}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	u, err := v.Usage(t.Context(), ws)
	if err != nil || u.Enforced != EnforcedNot || u.Files == 0 || time.Since(u.At) > time.Minute {
		t.Fatalf("%+v %v", u, err)
	}
	if err := v.SetQuota(t.Context(), ws, 1<<20); err != nil {
		t.Fatal(err)
	}
	again, err := v.Usage(t.Context(), ws)
	if err != nil || !again.At.Equal(u.At) || again.Limit != 1<<20 || again.FileLimit != minFiles || again.Enforced == EnforcedNot {
		if projectQuotaHere(t, v, ws) == nil {
			return // the kernel was asked anew
		}
		t.Errorf("%+v %v", again, err)
	}
	if err := v.Trash(t.Context(), ws, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Usage(t.Context(), ws); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("of what is in the trash: %v", err)
	}
}

func projectQuotaHere(t *testing.T, v *Volumes, ws station.Workstation) error {
	t.Helper()
	fd, err := v.openHome(ws)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return projectQuota(fd)
}
