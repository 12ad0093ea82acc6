package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// projectDisk is a folder on a file system with project quotas in force: what
// STAITHE_TEST_PRJQUOTA names (tools/quota.sh), else an ext4 in a file.
func projectDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, project quotas: needs root to mount a file system; run the tests as root")
	}
	if dir := os.Getenv("STAITHE_TEST_PRJQUOTA"); dir != "" {
		at, err := os.MkdirTemp(dir, "data-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(at); err != nil {
				t.Error(err)
			}
		})
		return at
	}
	image, at := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", image).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, project quotas: no ext4 with them can be made; install e2fsprogs: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, at).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, project quotas: this kernel mounts none (CONFIG_QFMT_V2); tools/quota.sh runs this test under another: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// The kernel refuses what goes over a home's quota, of bytes and of inodes, and
// counts what was there before it had one; a neighbour has nothing of it.
func TestProjectQuotaIsTheKernels(t *testing.T) {
	v := open(t, projectDisk(t))
	ann, bob := station.Workstation{ID: station.NewID(), UIDRange: 1}, station.Workstation{ID: station.NewID(), UIDRange: 2}
	for _, ws := range []station.Workstation{ann, bob} {
		if err := v.Create(t.Context(), ws); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(v.Path(ann), "deep", "er")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(old, "before"), 1<<20)
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(v.Path(ann), "link")), unix.Mkfifo(filepath.Join(v.Path(ann), "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 20
	for range 2 { // once more changes nothing
		if err := v.SetQuota(t.Context(), ann, limit); err != nil {
			t.Fatal(err)
		}
	}
	u, err := v.Usage(t.Context(), ann)
	if err != nil || u.Enforced != EnforcedProject || u.Limit != limit || u.FileLimit != minFiles || u.Bytes < 1<<20 || u.Files < 4 {
		t.Fatalf("usage: %+v %v", u, err)
	}
	as(t, func() { // root may go over
		if n, err := fill(filepath.Join(old, "bomb"), 64<<20); !full(err) || n > limit {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		n, err := fillFiles(old, 2*minFiles)
		if !full(err) || n >= minFiles {
			t.Errorf("made %d files: %v", n, err)
		}
		if err := os.WriteFile(filepath.Join(v.Path(bob), "small"), make([]byte, 64<<10), 0o600); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
	})
	if u, err := v.Usage(t.Context(), ann); err != nil || u.Bytes > limit || !(u.Share() > 0.98) {
		t.Errorf("full: %+v %v", u, err)
	}
	// What the kernel counts is what a walk finds, but for links and pipes.
	fd, err := v.openHome(ann)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w, err := measureDir(t.Context(), fd, 0, nil)
	if u, e := v.Usage(t.Context(), ann); err != nil || e != nil || w.files-u.Files > 2 || w.files < u.Files {
		t.Errorf("walked %d files, the kernel counts %d: %v %v", w.files, u.Files, err, e)
	}
	if err := os.RemoveAll(filepath.Join(v.Path(ann), "deep")); err != nil {
		t.Fatal(err)
	}
	if u, err := v.Usage(t.Context(), ann); err != nil || u.Bytes > 1<<20 || u.Files > 100 {
		t.Errorf("freed: %+v %v", u, err)
	}
	if err := v.SetQuota(t.Context(), ann, 0); err != nil {
		t.Fatal(err)
	}
	as(t, func() {
		if _, err := fill(filepath.Join(v.Path(ann), "free"), 8<<20); err != nil {
			t.Errorf("without a quota: %v", err)
		}
	})
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func write(t *testing.T, path string, n int64) {
	t.Helper()
	if _, err := fill(path, n); err != nil {
		t.Fatal(err)
	}
}

// fill writes a file of n bytes.
func fill(path string, n int64) (wrote int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); wrote < n && err == nil; {
		var k int
		k, err = f.Write(block)
		wrote += int64(k)
	}
	return wrote, err
}

func fillFiles(dir string, n int) (made int, err error) {
	for ; made < n; made++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("f", made)), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return made, err
		}
		f.Close()
	}
	return made, nil
}

// as runs f on a thread without the right to go over quotas
// (CAP_SYS_RESOURCE), which may write everywhere all the same.
func as(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lockAndDrop(t)
		f()
	}()
	<-done
}
