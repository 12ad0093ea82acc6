package oci

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// Every check that fails says what to do.
func TestProblemsNameTheirFix(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findEngine("no-such-engine")
	if !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("missing engine: %v", err)
	}
	checks := []sandbox.Check{
		checkEngine("/no/such/engine", true), checkEngine("runc", false), checkCgroups(false, cgroupHybrid, false), checkUIDMap(),
	}
	for _, c := range checks {
		if c.OK || c.Name == "" || c.Detail == "" || c.Fix == "" {
			t.Errorf("%+v", c)
		}
		var p *station.Problem
		if err := firstFailed([]sandbox.Check{c}); !errors.As(err, &p) || !strings.Contains(p.Sentence, c.Fix) || !errors.Is(err, station.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	if c := checkUIDMap(); !strings.Contains(c.Fix, "apt-get install uidmap") {
		t.Errorf("%+v", c)
	}
	if err := firstFailed([]sandbox.Check{{OK: true}}); err != nil {
		t.Error(err)
	}
}

// The filter lets no second system call table in and none of the calls that
// make namespaces.
func TestSeccompProfile(t *testing.T) {
	s, err := newSharedSpec(hostbase.Base{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.plain.seccomp.Architectures); n > 1 || s.plain.seccomp.DefaultAction == "SCMP_ACT_ALLOW" {
		t.Errorf("%d architectures, default %s", n, s.plain.seccomp.DefaultAction)
	}
	for _, rule := range append(s.plain.seccomp.Syscalls, s.sudo.seccomp.Syscalls...) {
		for _, name := range rule.Names {
			switch name {
			case "unshare", "setns", "mount", "bpf", "keyctl", "userfaultfd", "perf_event_open", "io_uring_setup", "open_by_handle_at", "init_module":
				if rule.Action == "SCMP_ACT_ALLOW" {
					t.Errorf("%s is allowed", name)
				}
			}
		}
	}
}

// A full disk is said as such, and the start leaves nothing.
func TestStartOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	data := t.TempDir()
	if err := unix.Mount("small", data, "tmpfs", 0, "size=32m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(data, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	rt, err := New(Options{Data: data, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if err := rt.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(data, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); !errors.Is(err, station.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	sandboxtest.Traceless(t, data, spec.Session)
}
