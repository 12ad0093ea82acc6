package oci

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// owners lists who a home's files belong to, by name.
func owners(t *testing.T, home string) map[string]uint32 {
	t.Helper()
	out := map[string]uint32{}
	err := filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Uid != st.Gid {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		name, err := filepath.Rel(home, path)
		out[name] = st.Uid
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fill makes a home with all kinds of files in it, and a file beside it that a
// link in it points to.
func fill(t *testing.T, uidRange int, uid int) (home, outside string) {
	t.Helper()
	home = sandboxtest.Home(t, uidRange)
	outside = filepath.Join(filepath.Dir(home), "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(home, "a/b/c"), 0o700),
		os.WriteFile(filepath.Join(home, "a/file"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(home, "a/b/c/deep"), []byte("x"), 0o600),
		os.WriteFile(outside, []byte("x"), 0o600),
		os.Symlink(outside, filepath.Join(home, "a/link")),
		os.Symlink(filepath.Dir(home), filepath.Join(home, "updir")),
		os.Link(filepath.Join(home, "a/file"), filepath.Join(home, "a/b/samefile")),
		unix.Mkfifo(filepath.Join(home, "pipe"), 0o600),
		filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, uid, uid)) }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return home, outside
}

func mapper(t *testing.T) *Runtime {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root maps homes; an account that is not root has them as its own")
	}
	opener(t, "")
	rt, err := New(Options{Data: t.TempDir(), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return uint64(st.Dev)
}

// run starts a sandbox of the home; it ends with the test at the latest.
func run(t *testing.T, rt *Runtime, home string, uidRange int) sandbox.Spec {
	t.Helper()
	spec := sandboxtest.Spec(t, home, uidRange)
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	return spec
}

func allOf(t *testing.T, home string, want int) {
	t.Helper()
	for name, uid := range owners(t, home) {
		if int(uid) != want {
			t.Errorf("%s belongs to %d, want %d", name, uid, want)
		}
	}
}

// On disk a home belongs to uid 1000, in the sandbox to the person, and what
// the sandbox's root makes in it to nobody of the host.
func TestHomesAreMapped(t *testing.T) {
	rt := mapper(t)
	own := station.HostUID(4, station.SandboxUID)
	home, outside := fill(t, 4, own) // as earlier versions had it
	if err := rt.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := rt.homes.canMap(home, device(t, home)); err != nil {
		t.Skipf("this file system cannot be mounted idmapped (%v); put TMPDIR on ext4, xfs, btrfs or, with Linux 6.3, tmpfs", err)
	}
	spec := run(t, rt, home, 4)
	allOf(t, home, station.SandboxUID)
	if uid := owners(t, filepath.Dir(home))["outside"]; uid != 0 {
		t.Errorf("the target of a link, %s, was given to %d", outside, uid)
	}
	if got := sandboxtest.Command(t, rt, spec, false, "stat -c '%u %g' ~ann ~ann/a/b/samefile && cat ~ann/a/file && touch ~ann/new && id -u"); got != "1000 1000\n1000 1000\nx1000" {
		t.Errorf("inside: %q", got)
	}

	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Command(t, rt, spec, true, "touch /home/ann/of-root")
	got := owners(t, home)
	if got["new"] != station.SandboxUID || int(got["of-root"]) != station.HostUID(4, 0) {
		t.Errorf("on disk: %v", got)
	}
}

// Where mapping does not work, or no longer, homes belong to the range; both
// ways of having them follow each other as often as it takes, and what was cut
// off in the middle is finished.
func TestHomesAreConverted(t *testing.T) {
	rt := mapper(t)
	own := station.HostUID(5, station.SandboxUID)
	home, _ := fill(t, 5, station.SandboxUID)
	if err := os.Lchown(filepath.Join(home, "a/b/c"), own, own); err != nil { // a conversion was killed
		t.Fatal(err)
	}
	able := map[uint64]error{device(t, home): nil}
	unable := map[uint64]error{device(t, home): errors.New("cannot map")}
	set := func(able map[uint64]error) { rt.homes.mu.Lock(); rt.homes.able = able; rt.homes.mu.Unlock() }
	usable := func(spec sandbox.Spec) {
		t.Helper()
		if got := sandboxtest.Command(t, rt, spec, false, "echo y > ~ann/a/b/c/deep && stat -c %u ~ann/a/b/c/deep"); got != "1000" {
			t.Errorf("inside: %q", got)
		}
	}
	set(unable)
	first := run(t, rt, home, 5)
	allOf(t, home, own)
	usable(first)

	set(able) // but one runs
	second := run(t, rt, home, 5)
	allOf(t, home, own)
	usable(second)
	for _, spec := range []sandbox.Spec{first, second} {
		if err := rt.Stop(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := os.Lchown(filepath.Join(home, "a/file"), station.SandboxUID, station.SandboxUID); err != nil {
			t.Fatal(err)
		}
		third := run(t, rt, home, 5)
		allOf(t, home, station.SandboxUID)
		usable(third)
		if err := rt.Stop(t.Context(), third.Session); err != nil {
			t.Fatal(err)
		}
	}
	set(unable)
	usable(run(t, rt, home, 5))
	allOf(t, home, own)

	set(able)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := chownHome(gone, home, own, station.SandboxUID); !errors.Is(err, station.ErrUnavailable) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("cut off: %v", err)
	}
}
