package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// A limit that the kernel refuses to keep is measured, not forgotten.
func TestLimitThatTheKernelRefusesIsMeasured(t *testing.T) {
	v, ws := open(t, t.TempDir()), station.Workstation{ID: station.NewID(), UIDRange: 1}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	v.kernelQuota = func(context.Context, int, station.Workstation, int64) (bool, error) { return false, refused }
	if err := v.SetQuota(t.Context(), ws, 1<<20); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if u, err := v.Measure(t.Context(), ws); err != nil || u.Limit != 1<<20 || u.Enforced != EnforcedMeasured {
		t.Errorf("%+v %v", u, err)
	}
}

// Many who ask at once what a home holds have it walked once.
func TestManyWhoAskHaveItWalkedOnce(t *testing.T) {
	v, ws := open(t, t.TempDir()), station.Workstation{ID: station.NewID(), UIDRange: 1}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := os.Mkdir(filepath.Join(v.Path(ws), fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := v.home(ws)
	h.walking.Lock() // until all have asked
	var all, asked sync.WaitGroup
	var mu sync.Mutex
	walks := map[time.Time]bool{}
	for range 8 {
		asked.Add(1)
		all.Go(func() {
			asked.Done()
			u, err := v.Usage(t.Context(), ws)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			walks[u.At] = true
		})
	}
	asked.Wait()
	h.walking.Unlock()
	all.Wait()
	if len(walks) != 1 {
		t.Errorf("%d walks", len(walks))
	}
}

// What a server that is not root may not look into it does not pretend to know.
func TestClosedFolderIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(filepath.Join(dir, "closed", "much"), 0o755), os.Chmod(filepath.Join(dir, "closed"), 0)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 { // of this thread alone, for files alone (setfsuid(2))
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	w, err := measureDir(t.Context(), fd, 0, nil)
	if err != nil || !w.closed || w.files != 2 {
		t.Errorf("%+v %v", w, err)
	}
}
