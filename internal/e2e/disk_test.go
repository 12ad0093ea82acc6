package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// smallServer serves from an ext4 of its own, of a size, with few inodes.
func smallServer(t *testing.T, size int64, inodes int, env ...string) *server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, a disk bomb: needs root to mount a small disk; run the tests as root")
	}
	s := &server{t: t, data: dataDir(t), env: env, log: &syncBuffer{}}
	image := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", "-N", fmt.Sprint(inodes), image).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, a disk bomb: no file system can be made; install e2fsprogs: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, s.data).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, a disk bomb: there are no loop devices to mount a small disk with: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(s.data, 0o711); err != nil {
		t.Fatal(err)
	}
	s.start("127.0.0.1:0")
	t.Cleanup(s.remove)
	s.setUp()
	return s
}

// addUser makes a user with a session main, and signs in as them.
func (s *server) addUser(name string) *client {
	s.t.Helper()
	s.bearer(s.token).must(201, "POST", "/users", map[string]any{"username": name, "password": password}, nil)
	c := s.client()
	c.must(200, "POST", "/login", map[string]any{"username": name, "password": password}, nil)
	var tok struct{ Token string }
	c.must(201, "POST", "/tokens", map[string]any{"name": "test", "scopes": []string{"*"}}, &tok)
	return s.bearer(tok.Token)
}

// sees waits until a session is as wanted.
func (c *client) sees(session string, what string, ok func(station.Session) bool) station.Session {
	c.s.t.Helper()
	deadline := time.After(60 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		var v station.Session
		c.must(200, "GET", "/sessions/"+session, nil, &v)
		if ok(v) {
			return v
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.s.t.Fatalf("the session is not %s: %+v; the server logged:\n%s", what, v, c.s.log)
		}
	}
}

func (c *client) home() (h station.Home) {
	c.s.t.Helper()
	c.must(200, "GET", "/workstation", nil, &h)
	return h
}

// Bombs of bytes and of inodes from a real shell: the bomber is stopped and
// told; the server and a neighbour's shell go on; what takes more room is
// refused; and when the bomber has cleaned up, all is as before.
func TestAbuse37_DiskBombFromARealShell(t *testing.T) {
	for name, script := range map[string]string{
		"bytes": `mkdir bomb; while :; do dd if=/dev/zero of=bomb/$RANDOM$RANDOM bs=1M count=20 2>/dev/null; done`,
		// In no home's measurement: the file is deleted, and open.
		"deleted": `mkdir bomb; exec 9>bomb/hidden; rm bomb/hidden; while :; do dd if=/dev/zero bs=1M count=20 >&9 2>/dev/null; done`,
		"files":   `mkdir bomb; i=0; while :; do : > bomb/$((i+=1)); done 2>/dev/null`,
	} {
		t.Run(name, func(t *testing.T) { diskBomb(t, script) })
	}
}

func diskBomb(t *testing.T, script string) {
	// Of the inodes a twentieth is the reserve: what a bomb makes while it is being stopped.
	s := smallServer(t, 384<<20, 100_000, "STAITHE_DISK_RESERVE=48m")
	bomber := s.bearer(s.token)
	bob := s.addUser("bob")
	bob.must(201, "POST", "/sessions", map[string]any{"name": "work"}, nil)
	neighbour := &server{t: t, base: s.base, token: bob.bearer, log: s.log}
	st, out := openTab(t, neighbour.mux("work"), wire.Open{Command: []string{"/bin/bash", "-c", "stty -echo; echo ready; while read -r n; do echo small > ~/file-$n && echo wrote-$n; done"}})
	out.See(t, "ready")
	bomber.must(201, "POST", "/sessions", map[string]any{"name": "bomb"}, nil)
	bomber.must(201, "POST", "/sessions/bomb/tabs", map[string]any{"command": []string{"/bin/bash", "-c", "cd; " + script}}, nil)
	v := bomber.sees("bomb", "stopped", func(v station.Session) bool { return v.State == station.StateAsleep })
	if v.Notice.Code != "disk_full" || !strings.Contains(v.Notice.Text, "Stop its programs") {
		t.Errorf("it was told %+v, reason %q", v.Notice, v.Reason)
	}
	t.Logf("told: %s", v.Notice.Text)

	// Everyone else.
	st.Write([]byte("1\n"))
	out.See(t, "wrote-1")
	var me station.User
	c := s.client()
	c.must(200, "POST", "/login", map[string]any{"username": "ada", "password": password}, nil)
	c.must(200, "GET", "/me", nil, &me)
	c.must(200, "GET", "/sessions", nil, nil)
	if bob.sees("work", "awake", func(v station.Session) bool { return true }).State != station.StateRunning {
		t.Error("the neighbour was stopped")
	}
	for _, who := range []*client{bob, bomber} {
		if status, b := who.do("POST", "/sessions", map[string]any{"name": "more"}); status != 507 || !strings.Contains(string(b), "disk_low") {
			t.Errorf("a session more: %d %s", status, b)
		}
		if h := who.home(); !h.DiskLow {
			t.Errorf("told of the disk: %+v", h)
		}
	}

	// The person puts the bomb out: its programs end, and a new shell cleans up.
	bomber.must(200, "POST", "/sessions/bomb/sleep?stop=true", nil, nil)
	if got := shellOutput(t, s, "bomb", "cd; rm -rf bomb && echo gone"); !strings.Contains(got, "gone") {
		t.Errorf("cleaning up: %q", got)
	}
	deadline := time.Now().Add(60 * time.Second)
	for bob.home().DiskLow {
		if time.Now().After(deadline) {
			t.Fatalf("the disk did not come to have room again; the server logged:\n%s", s.log)
		}
	}
	st.Write([]byte("2\n"))
	out.See(t, "wrote-2")
	bomber.must(201, "POST", "/sessions", map[string]any{"name": "more"}, nil)
	if got := shellOutput(t, s, "bomb", "cd; head -c 1000000 /dev/zero > after && ls after"); !strings.Contains(got, "after") {
		t.Errorf("afterwards: %q", got)
	}
}

// A home's limit where the kernel keeps none: its person is told before, stopped
// past it, let in to clean up, and goes on when it fits. The neighbour is not
// concerned.
func TestAbuse37_HomeOverItsQuota(t *testing.T) {
	s := smallServer(t, 512<<20, 20_000, "STAITHE_CLASS=standard.disk=32m")
	api := s.bearer(s.token)
	var other station.Session
	api.must(201, "POST", "/sessions", map[string]any{"name": "other"}, &other)
	api.must(201, "POST", "/sessions/main/tabs", map[string]any{"command": []string{"/bin/bash", "-c",
		`cd; head -c 31500000 /dev/zero > first; while [ ! -e go ]; do sleep 0.1; done; while :; do head -c 300000 /dev/zero >> bomb; done`}}, nil)
	v := api.sees("main", "told", func(v station.Session) bool { return v.Notice.Code != "" })
	if v.Notice.Code != "home_filling" || v.State != station.StateRunning {
		t.Errorf("told %+v, %s", v.Notice, v.State)
	}
	s.until("all of the first file is measured", func() bool { return api.home().Bytes >= 31_500_000 })
	if h := api.home(); h.Quota != 32<<20 || h.Enforced != "measured" || h.Bytes < 31_500_000 || h.Free > 3<<20 || h.MeasuredAt.IsZero() {
		t.Errorf("home: %+v", h)
	}
	api.must(201, "POST", "/sessions/other/tabs", map[string]any{"command": []string{"/bin/sh", "-c", "touch ~/go"}}, nil)
	v = api.sees("main", "stopped", func(v station.Session) bool { return v.State == station.StateAsleep })
	if v.Notice.Code != "home_full" {
		t.Errorf("told %+v", v.Notice)
	}
	t.Logf("told: %s; it holds %d bytes", v.Notice.Text, api.home().Bytes)
	// From another session of the same person; it may have been stopped with the
	// first, where the sandboxes' counters do not tell who writes.
	if got := shellOutput(t, s, "other", "cd; rm first bomb && echo gone"); !strings.Contains(got, "gone") {
		t.Errorf("cleaning up: %q", got)
	}
	api.sees("main", "going on", func(v station.Session) bool { return v.State == station.StateRunning })
	api.must(200, "POST", "/sessions/main/sleep?stop=true", nil, nil)
}
