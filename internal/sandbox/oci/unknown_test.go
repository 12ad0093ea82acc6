package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// While it cannot be told which sandboxes there are, nothing below any is
// removed or changed, and nobody is told that there are none.
func TestWhatCannotBeListedCountsAsUsed(t *testing.T) {
	data := t.TempDir()
	rt, err := New(Options{Data: data, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if rt.BaseInUse("/image") || rt.inUse(sandbox.Spec{}) || rt.keepBase()("old") {
		t.Fatal("with no sandbox something is in use")
	}
	if err := os.WriteFile(rt.stateRoot(runsc), nil, 0o600); err != nil { // a folder that cannot be read
		t.Fatal(err)
	}
	if !rt.BaseInUse("/image") || !rt.inUse(sandbox.Spec{}) || !rt.keepBase()("old") {
		t.Errorf("used: image %v, home %v, base %v", rt.BaseInUse("/image"), rt.inUse(sandbox.Spec{}), rt.keepBase()("old"))
	}
	if list, err := rt.List(t.Context()); !errors.Is(err, sandbox.ErrUnknown) {
		t.Errorf("%v %v", list, err)
	}
}

// A sandbox that cannot be looked at, here since its engine is gone, hides no
// other and is unknown, not gone.
func TestListGoesOnPastWhatItCannotLookAt(t *testing.T) {
	opener(t, string(crun)) // or skip, or fail
	real, err := lookPath(string(crun))
	if err != nil {
		t.Fatal(err)
	}
	engine := filepath.Join(t.TempDir(), "crun-goes")
	if err := os.WriteFile(engine, []byte("#!/bin/sh\nexec "+real+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	rt, err := New(Options{Data: t.TempDir(), Engine: engine, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	}()
	lost := station.NewID()
	if err := errors.Join(os.Remove(engine), os.Mkdir(filepath.Join(rt.stateRoot(crun), string(lost)), 0o700)); err != nil {
		t.Fatal(err)
	}
	list, err := rt.List(t.Context())
	if !errors.Is(err, sandbox.ErrUnknown) || len(list) != 1 || list[0].Session != spec.Session || !list[0].Running {
		t.Errorf("%+v %v", list, err)
	}
	if _, _, err := rt.Find(t.Context(), lost); !errors.Is(err, sandbox.ErrUnknown) {
		t.Errorf("find: %v", err)
	}
}

// What is still done with a sandbox while the server ends is refused, and ends
// nothing else.
func TestClosedThreadRefuses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, the mount thread: needs root; run the tests as root")
	}
	thread, err := newMountThread(func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := thread.do(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	thread.close()
	if err := thread.do(func() error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("%v", err)
	}
}

// An engine that ended, but left a program that holds its output, is not waited
// for as long as that lives.
func TestEngineThatLeavesItsOutputOpen(t *testing.T) {
	dir := t.TempDir()
	path, left := filepath.Join(dir, "crun"), filepath.Join(dir, "left")
	script := fmt.Sprintf("#!/bin/sh\nsleep 300 &\necho $! > %s\necho '{\"status\":\"running\",\"pid\":7}'\n", left)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		b, err := os.ReadFile(left)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err == nil {
			err = unix.Kill(pid, unix.SIGKILL)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	done := make(chan error, 1)
	go func() {
		_, err := engine{kind: crun, path: path}.state(context.Background(), nil, true, dir, station.NewID())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("half an answer was taken for one")
		}
	case <-time.After(10 * lastWords):
		t.Error("it is still waited for")
	}
}
