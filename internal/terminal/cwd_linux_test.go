package terminal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The folder of another user's shell is read, and no thread keeps that user's
// identity.
func TestCwdOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a shell as somebody else")
	}
	const uid = 54321
	c := Command{Argv: []string{"/bin/sh", "-c", "cd /usr && echo there && cat"}, Dir: "/", UID: uid, GID: uid, Cols: 80, Rows: 24}
	term, err := Start(context.Background(), Local{}, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	p := pull(term, Join{Fresh: true})
	p.until(t, "there", func() bool { return strings.Contains(p.got.String(), "there") })
	for range 500 {
		if dir := term.Cwd(); dir != "/usr" {
			t.Fatalf("folder %q", dir)
		}
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatal("no threads", err)
	}
	for _, f := range threads {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "54321") {
			t.Errorf("%s: %s", f, b)
		}
	}
}

// Where a thread has no file system identity of its own (gVisor), its effective
// one is taken, and goes with it.
func TestEffectiveIdentityEndsWithItsThread(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to take somebody else's identity")
	}
	const uid = 54322
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Dir(dir)} { // the test's own, to be walked through
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	var self int
	var made, refused error
	onOtherThread(func() {
		asEffective(uid, uid, func() {
			self = os.Geteuid()
			_, refused = os.ReadDir(closed)
			_, made = os.ReadDir("/") // anybody may
		})
	})
	if self != uid || !errors.Is(refused, os.ErrPermission) || made != nil {
		t.Errorf("as %d: a closed folder: %v, another: %v", self, refused, made)
	}
	if os.Geteuid() != 0 {
		t.Error("this thread is somebody else now")
	}
	if err := os.Chown(closed, uid, uid); err != nil {
		t.Fatal(err)
	}
	onOtherThread(func() { asEffective(uid, uid, func() { _, made = os.ReadDir(closed) }) })
	if made != nil {
		t.Error("its own folder: ", made)
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		threads, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil {
			t.Fatal(err)
		}
		held := slices.ContainsFunc(threads, func(f string) bool {
			b, err := os.ReadFile(f)
			return err == nil && strings.Contains(string(b), strconv.Itoa(uid))
		})
		if !held {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a thread keeps the identity")
		}
	}
}
