package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/idmap"
	"staithe/internal/station"
)

// TestMain is also the process that fills a home.
func TestMain(m *testing.M) {
	if n := os.Getenv("STAITHE_FILL"); n != "" {
		if err := fill(os.Getenv("STAITHE_FILL_HOME"), n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const mountedRange = 3

// fill makes folders, nested four deep, with three files each, as fast as it can:
// through an idmapped mount that only this process sees when there is one at 3.
func fill(home, n string) error {
	folders, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	if os.Getenv("STAITHE_FILL_MOUNTED") != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		at := filepath.Join(filepath.Dir(filepath.Dir(home)), "inside")
		if err := unix.MoveMount(3, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
		user := station.HostUID(mountedRange, station.SandboxUID)
		if err := errors.Join(os.Chdir(at), syscall.Setgroups(nil), syscall.Setresgid(user, user, user), syscall.Setresuid(user, user, user)); err != nil {
			return err
		}
		home = "."
	}
	for i := range folders {
		dir := filepath.Join(home, "tree", fmt.Sprint(i%20), fmt.Sprint(i/20%20), fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		for f := range 3 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file", f)), []byte("content"), 0o666); err != nil {
				return err
			}
		}
		if i%10 == 0 { // as npm does: made aside, then renamed
			if err := os.Rename(dir, dir+"-done"); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(home, "end"), nil, 0o666)
}

// A checkout of 8,000 folders by another process: who goes by the events knows every
// path. As root it goes through an idmapped mount in another mount namespace, as in
// a sandbox. STAITHE_SOAK_FOLDERS is another number.
func TestAManyFoldersCheckoutMissesNothing(t *testing.T) {
	folders, others := 8000, 2000
	if v := os.Getenv("STAITHE_SOAK_FOLDERS"); v != "" {
		var err error
		if folders, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
		others = folders
	}
	for _, source := range []string{"fanotify", "fanotify before 5.17", "inotify"} {
		t.Run(source, func(t *testing.T) {
			folders := folders
			if source != "fanotify" { // they are slower; all of it is for soak
				folders = others
			}
			y := newYard(t, source)
			s := y.stream(".")
			c, err := y.Count(t.Context(), ws, y.home)
			y.must(err)
			defer c.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = []string{"STAITHE_FILL=" + fmt.Sprint(folders), "STAITHE_FILL_HOME=" + y.home, "GORACE=" + os.Getenv("GORACE")}
			cmd.Stderr = os.Stderr
			if source == "fanotify" {
				mounted(t, y, cmd)
			}
			begun := time.Now()
			y.must(cmd.Start())
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			filled := make(chan struct{})
			go func() {
				defer close(filled)
				if err := cmd.Wait(); err != nil {
					cancel(err)
				}
			}()
			m, events, overflows := newMirror(y.home), 0, 0
			for !m.paths["end"] {
				b, err := s.Next(ctx)
				if err != nil {
					t.Fatal(err, context.Cause(ctx))
				}
				if b.Overflow {
					overflows++
				}
				events += len(b.Events)
				m.apply(b)
			}
			<-filled
			if source == "inotify" {
				m.follow(t, s, "end", true)
			}
			if d := m.differs(); d != "" {
				t.Error(d)
			}
			tally := c.Peek()
			t.Logf("%d paths, %d events, %d overflows, %d lists, %d counted (%v), %v", len(m.paths), events, overflows, m.lists, tally.Paths, tally.Overflow, time.Since(begun).Round(time.Millisecond))
			if source == "fanotify" && !tally.Overflow && tally.Paths < 4*folders {
				t.Errorf("%d paths were counted, of %d files and folders", tally.Paths, 4*folders)
			}
		})
	}
}

// mounted lets a process see the home as a sandbox does.
func mounted(t *testing.T, y *yard, cmd *exec.Cmd) {
	t.Helper()
	y.must(os.Lchown(y.home, 1000, 1000), os.Mkdir(filepath.Join(filepath.Dir(y.homes), "inside"), 0o755))
	space, err := idmap.Namespace(idmap.HomeIDs(mountedRange))
	y.must(err)
	defer space.Close()
	fd, err := idmap.Tree(y.home, space, 0)
	if err != nil {
		t.Skipf("this file system cannot be mounted idmapped: %v", err)
	}
	f := os.NewFile(uintptr(fd), "home")
	t.Cleanup(func() { f.Close() })
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(cmd.Env, "STAITHE_FILL_MOUNTED=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
}

// Folders that are forgotten are found again.
func TestForgottenFolders(t *testing.T) {
	y := newYard(t, "fanotify")
	y.mu.Lock()
	y.fan.tree.most = 8
	y.mu.Unlock()
	s, m := y.stream("."), newMirror(y.home)
	y.must(fill(y.home, "200"))
	m.follow(t, s, "end", false)
	if d := m.differs(); d != "" {
		t.Error(d)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if n := len(y.fan.tree.nodes); n > 20 {
		t.Errorf("%d folders are remembered", n)
	}
}

// When the kernel's queue was lost, everybody is told, and it goes on.
func TestBegunAnew(t *testing.T) {
	y := newYard(t, "fanotify")
	s := y.stream(".")
	y.write("before", "")
	y.mu.Lock()
	y.fan.again(fmt.Errorf("the test wants it"))
	y.mu.Unlock()
	b, err := s.Next(t.Context())
	for ; err == nil && !b.Overflow; b, err = s.Next(t.Context()) {
	}
	y.must(err)
	y.write("after", "")
	y.write("end", "")
	if got := told(y.until(s, "end")); len(got) != 1 || got[0] != "create after" {
		t.Errorf("told %q", got)
	}
}

// A folder deeper than a path can say does no harm, and what is above it is told.
func TestAbuse37_WatchOfADeepTree(t *testing.T) {
	for _, source := range []string{"fanotify", "inotify"} {
		t.Run(source, func(t *testing.T) {
			y := newYard(t, source)
			s := y.stream(".")
			dir, err := os.Open(y.home)
			y.must(err)
			for range 3000 {
				y.must(unix.Mkdirat(int(dir.Fd()), "dd", 0o755))
				sub, err := openIn(dir, "dd")
				y.must(err, dir.Close())
				dir = sub
			}
			fd, err := unix.Openat(int(dir.Fd()), "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
			y.must(err, unix.Close(fd), dir.Close())
			y.write("end", "")
			y.until(s, "end")
			y.must(exec.Command("rm", "-rf", y.at("dd")).Run()) // what the test itself cannot
		})
	}
}

func FuzzReadEvents(f *testing.F) {
	e := make([]byte, 0, 64)
	e = append(e, 64, 0, 0, 0, unix.FANOTIFY_METADATA_VERSION, 0, 24, 0, 0, 1, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0)
	e = append(e, unix.FAN_EVENT_INFO_TYPE_DFID_NAME, 0, 40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	e = append(e, "name\x00\x00\x00\x00\x00\x00\x00\x00"...)
	f.Add(e)
	f.Add(append(e[:len(e):len(e)], e...))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_ = readEvents(b, func(e event) {
			n++
			for _, r := range []record{e.at, e.to} {
				if r.key != nil {
					handleOf(r.key)
					_ = diskOf(r.key)
				}
			}
		})
		if n > len(b)/metadataSize {
			t.Errorf("%d events in %d bytes", n, len(b))
		}
		_, _ = readHeard(b)
	})
}
