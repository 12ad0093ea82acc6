package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/sandboxtest"
)

// An engine that hangs over one session holds up no other, nor the list of all.
func TestAHangingEngineHoldsUpItsSessionAlone(t *testing.T) {
	opener(t, string(crun)) // or skip, or fail
	real, err := lookPath(string(crun))
	if err != nil {
		t.Fatal(err)
	}
	stuck, other := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1), sandboxtest.Spec(t, sandboxtest.Home(t, 2), 2)
	engine := filepath.Join(t.TempDir(), "crun-hangs")
	hung := filepath.Join(t.TempDir(), "hung")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *%s*) : > %s; exec sleep 1000;; esac\nexec %s \"$@\"\n", stuck.Session, hung, real)
	if err := os.WriteFile(engine, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	rt, err := New(Options{Data: t.TempDir(), Engine: engine, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rt.Start(ctx, stuck) }()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if _, err := os.Stat(hung); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Minute) // the engine hangs for longer, and a busy machine is slow
	defer cancel()
	if list, err := rt.List(soon); err != nil || len(list) != 1 {
		t.Errorf("list: %v %v", list, err)
	}
	if err := rt.Start(soon, other); err != nil {
		t.Error(err)
	}
	if err := rt.Stop(soon, other.Session); err != nil {
		t.Error(err)
	}
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the stuck start: %v", err)
	}
	if list, err := rt.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left: %v %v", list, err)
	}
}

// Where the gateway is what orphans fall to (PID 1 of a container), the guests
// it ends do not stay as zombies.
func TestNoGuestStaysAZombie(t *testing.T) {
	rt := opener(t, "")(t, t.TempDir())
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	for _, ends := range []string{"stopped", "by itself"} {
		spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
		if err := rt.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		list, err := rt.List(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		pid := list[0].PID
		if ends == "by itself" {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if err := rt.Stop(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the guest is still in the process table: %v", ends, err)
		}
	}
}

// A guest that writes without end fills no disk: its log is cut at each look, and
// its end stays.
func TestAbuse37_GuestLogIsBounded(t *testing.T) {
	rt := opener(t, "")(t, t.TempDir()).(*Runtime)
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(rt.dir(spec.Session), logName)
	flood := func(last string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(append(make([]byte, 8<<20), last...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, last := range []string{"first end", "second end"} {
		flood(last)
		if _, err := rt.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) > maxLog || !bytes.HasSuffix(b, []byte(last)) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
}
