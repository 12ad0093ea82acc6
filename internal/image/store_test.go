package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"staithe/internal/station"
)

// newStore is one in a directory that is emptied at the end, whoever owns what
// was unpacked.
func newStore(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s := &Store{dir: s.dir, limits: s.limits} // nothing is in use any more
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if CheckName(e.Name()) != nil {
				continue
			}
			if err := s.Remove(e.Name()); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// write writes an archive and returns its path.
func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// system is the least that can be a base, with a mark that tells versions apart.
func system(t testing.TB, mark string, more ...entry) []entry {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	elf := make([]byte, 64)
	if _, err := io.ReadFull(self, elf); err != nil {
		t.Fatal(err)
	}
	sh := entry{name: "usr/bin/dash", body: string(elf), mode: 0o755}
	return append([]entry{dir("./"), dir("usr"), dir("etc"), symlink("bin", "usr/bin"), sh, symlink("usr/bin/sh", "/bin/dash"), file("etc/mark", mark)}, more...)
}

func mark(t testing.TB, rootfs string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(rootfs, "etc/mark"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustImport(t testing.TB, s *Store, name, path string) Image {
	t.Helper()
	img, err := s.Import(t.Context(), name, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// onlyThese fails when there is more in the images' folder than these names.
func onlyThese(t testing.TB, s *Store, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != lockName {
			got = append(got, e.Name())
		}
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("in the images' folder: %v, wanted %v", got, names)
	}
}

func TestImportAgainKeepsTheFloorOfThoseOnIt(t *testing.T) {
	var standing atomic.Pointer[string]
	s := newStore(t, Options{InUse: func(rootfs string) bool { p := standing.Load(); return p != nil && *p == rootfs }})
	one := mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one")...)))
	standing.Store(&one.Rootfs)
	two := mustImport(t, s, "deb", write(t, "2.tar", tarOfEntries(t, system(t, "two")...)))
	if now, err := s.Path("deb"); err != nil || now != two.Rootfs || mark(t, now) != "two" || mark(t, one.Rootfs) != "one" || two.Older != 1 {
		t.Fatalf("%s %v, older %d", now, err, two.Older)
	}
	if err := s.Remove("deb"); !errors.Is(err, station.ErrConflict) {
		t.Errorf("removed under a session: %v", err)
	}
	standing.Store(nil)
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(one.Rootfs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old version is still there: %v", err)
	}
	if mark(t, two.Rootfs) != "two" {
		t.Error("the version in force is gone")
	}
	if err := s.Remove("deb"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Path("deb"); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("%v", err)
	}
	onlyThese(t, s)
}

func TestHoldKeepsAVersion(t *testing.T) {
	s := newStore(t, Options{InUse: func(string) bool { return false }})
	mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one")...)))
	rootfs, release, err := s.Hold("deb")
	if err != nil {
		t.Fatal(err)
	}
	mustImport(t, s, "deb", write(t, "2.tar", tarOfEntries(t, system(t, "two")...)))
	if mark(t, rootfs) != "one" {
		t.Error("the held version changed")
	}
	if err := s.Remove("deb"); !errors.Is(err, station.ErrConflict) {
		t.Errorf("removed while held: %v", err)
	}
	release()
	release()
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rootfs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Without knowledge of sandboxes every version stays.
func TestUnknownUseKeepsAllVersions(t *testing.T) {
	s := newStore(t, Options{})
	one := mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one")...)))
	mustImport(t, s, "deb", write(t, "2.tar", tarOfEntries(t, system(t, "two")...)))
	if mark(t, one.Rootfs) != "one" {
		t.Error("an old version was removed")
	}
}

func TestImportOfTheSameIsNoNewVersion(t *testing.T) {
	s := newStore(t, Options{})
	path := write(t, "1.tar", tarOfEntries(t, system(t, "one")...))
	one := mustImport(t, s, "deb", path)
	info, err := os.Stat(one.Rootfs)
	if err != nil {
		t.Fatal(err)
	}
	again := mustImport(t, s, "deb", path)
	after, err := os.Stat(again.Rootfs)
	if err != nil || one.Same || !again.Same || again.Version != one.Version || !os.SameFile(info, after) {
		t.Errorf("%+v %+v %v", one, again, err)
	}
	// And back to it from another.
	mustImport(t, s, "deb", write(t, "2.tar", tarOfEntries(t, system(t, "two")...)))
	mustImport(t, s, "deb", path)
	if now, err := s.Path("deb"); err != nil || now != one.Rootfs {
		t.Errorf("%s %v", now, err)
	}
	onlyThese(t, s, "deb")
}

func TestImportMendsADamagedVersion(t *testing.T) {
	s := newStore(t, Options{})
	path := write(t, "1.tar", tarOfEntries(t, system(t, "one")...))
	img := mustImport(t, s, "deb", path)
	if err := os.WriteFile(filepath.Join(filepath.Dir(img.Rootfs), manifestName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("deb"); !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if all, err := s.List(); len(all) != 0 || err == nil {
		t.Errorf("%v %v", all, err)
	}
	mustImport(t, s, "deb", path)
	if all, err := s.List(); len(all) != 1 || err != nil {
		t.Errorf("%v %v", all, err)
	}
}

// Whoever asks while imports go on gets a whole version, always.
func TestPathIsWholeWhileImportsGoOn(t *testing.T) {
	s := newStore(t, Options{InUse: func(string) bool { return false }})
	var paths []string
	for i := range 4 {
		paths = append(paths, write(t, "v.tar", tarOfEntries(t, system(t, fmt.Sprint("mark ", i))...)))
	}
	mustImport(t, s, "deb", paths[0])
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for round := range 3 {
				if _, err := s.Import(context.Background(), "deb", paths[(i+round)%4], nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { writers.Wait(); close(over) }()
	asked := 0
	for done := false; !done; asked++ {
		select {
		case <-over:
			done = true
		default:
		}
		rootfs, release, err := s.Hold("deb")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mark(t, rootfs), "mark ") {
			t.Error("half a version")
		}
		release()
	}
	t.Logf("asked %d times", asked)
	onlyThese(t, s, "deb")
}

// hangEnv makes this test's program an import that never ends (main_test.go).
const hangEnv = "STAITHE_TEST_HANGING_IMPORT"

func hangingImport(what string) {
	data, path, _ := strings.Cut(what, "|")
	s, err := Open(data, Options{})
	if err == nil {
		_, err = s.Import(context.Background(), "deb", path, func(p Progress) {
			if p.Step == "writing to disk" {
				fmt.Println("half way")
				select {}
			}
		})
	}
	fmt.Println(err)
}

func TestKilledImportIsCleanedUpByTheNext(t *testing.T) {
	needRoot(t)
	s := newStore(t, Options{})
	path := write(t, "1.tar", tarOfEntries(t, system(t, "one")...))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hangEnv+"="+filepath.Dir(s.dir)+"|"+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "half way\n" {
		t.Fatalf("%q %v", line[:n], err)
	}
	// While it lives, its folder is left alone.
	mustImport(t, s, "other", path)
	half, err := filepath.Glob(filepath.Join(s.dir, stagePrefix+"*", rootfsName, "etc/mark"))
	if err != nil || len(half) != 1 {
		t.Fatalf("%v %v", half, err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says that it was killed
	if _, err := s.Path("deb"); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("half an image is in force: %v", err)
	}
	mustImport(t, s, "deb", path)
	onlyThese(t, s, "deb", "other")
}

func TestStoppedImportLeavesNothing(t *testing.T) {
	s := newStore(t, Options{})
	path := write(t, "1.tar", tarOfEntries(t, system(t, "one", file("big", strings.Repeat("x", 8<<20)))...))
	ctx, stop := context.WithCancel(t.Context())
	_, err := s.Import(ctx, "deb", path, func(Progress) { stop() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	onlyThese(t, s)
}

func TestNamesOfImages(t *testing.T) {
	s := newStore(t, Options{})
	for _, name := range []string{"host", "", "..", ".new-x", "A", "a/b", ".lock"} {
		if _, err := s.Import(t.Context(), name, "/nowhere", nil); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("import %q: %v", name, err)
		}
		if _, err := s.Path(name); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("path %q: %v", name, err)
		}
		if err := s.Remove(name); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}

func TestTheImagesFolderIsClosedToOthers(t *testing.T) {
	s := newStore(t, Options{})
	img := mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one")...)))
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "deb"), filepath.Dir(img.Rootfs)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, info.Mode(), err)
		}
	}
	if info, err := os.Stat(img.Rootfs); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if !bytes.Contains([]byte(img.Rootfs), []byte(img.Version)) {
		t.Errorf("%+v", img)
	}
}
