package oci

import (
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

func keepNone(string) bool { return false }

// The base holds nothing of the host's /etc that not everyone there may read,
// and none of the files that name keys, people or the machine.
func TestBaseTakesNothingSecret(t *testing.T) {
	dir := t.TempDir()
	old := unix.Umask(0o077) // a careful operator's
	defer unix.Umask(old)
	b, err := ensureBase(dir, keepNone)
	if err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(b.rootfs, "etc")
	for _, name := range []string{"shadow", "shadow-", "gshadow", "sudoers", "ssh", "machine-id", "hostid", "fstab", "crypttab", "krb5.keytab",
		"ssl/private", "pip.conf", "npmrc", "gitconfig", "maven", "environment", "subuid", "default", "systemd", "cron.d", "docker"} {
		if _, err := os.Lstat(filepath.Join(etc, name)); err == nil {
			t.Errorf("the base has /etc/%s", name)
		}
	}
	err = filepath.WalkDir(b.rootfs, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode(); mode.Type() != fs.ModeSymlink && (mode&0o005 == 0 || mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 || mode&0o022 != 0 && mode&fs.ModeSticky == 0) {
			t.Errorf("%s has mode %v", path, mode)
		}
		name, err := filepath.Rel(etc, path)
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(name, "..") && etcOwn[name] == "" {
			if host, err := os.Stat(filepath.Join("/etc", name)); err != nil || host.Mode()&0o004 == 0 {
				t.Errorf("%s was taken from a file with mode %v, %v", path, host.Mode(), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ensureBase(dir, keepNone)
	if err != nil || again.name != b.name {
		t.Errorf("built again as %s, was %s; %v", again.name, b.name, err)
	}
}

// A base that a sandbox runs on outlives the host's change of /etc; others go.
func TestOldBasesGo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"used", "unused", ".new-123"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ensureBase(dir, func(name string) bool { return name == "used" }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"used": true, "unused": false, ".new-123": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every check that fails says what to do.
func TestProblemsNameTheirFix(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findEngine("no-such-engine")
	if !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("missing engine: %v", err)
	}
	checks := []sandbox.Check{
		checkEngine("/no/such/engine", true), checkEngine("runc", false), checkCgroups(false, cgroupHybrid), checkUIDMap(),
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

func TestSubordinateIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	text := "other:1:70000\n# a comment\nann:100000:100\nann:200000:65536\nbroken:x\n1234:300000:65536\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := subRange(file, "ann", 1); err != nil || r != (idRange{200000, 65536}) {
		t.Errorf("by name: %+v %v", r, err)
	}
	if r, err := subRange(file, "x", 1234); err != nil || r != (idRange{300000, 65536}) {
		t.Errorf("by number: %+v %v", r, err)
	}
	for _, f := range []string{file, file + "-missing"} {
		_, err := subRange(f, "nobody", 65534)
		var p *station.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Sentence, "usermod --add-subuids 100000-165535 nobody") {
			t.Errorf("%v", err)
		}
	}
	m := rootlessMap(777, idRange{200000, 65536})
	if m[0].HostID != 200000 || m[0].Size != 1000 || m[1].HostID != 777 || m[1].ContainerID != 1000 || m[2].ContainerID != 1001 ||
		m[2].HostID != 201000 || m[2].ContainerID+m[2].Size != 65536 || m[2].HostID+m[2].Size > 265536 {
		t.Errorf("%+v", m)
	}
}

// The filter lets no second system call table in and none of the calls that
// make namespaces.
func TestSeccompProfile(t *testing.T) {
	s, err := newSharedSpec(baseDir{}, true, cgroupV2)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.seccomp.Architectures); n > 1 || s.seccomp.DefaultAction == "SCMP_ACT_ALLOW" {
		t.Errorf("%d architectures, default %s", n, s.seccomp.DefaultAction)
	}
	for _, rule := range s.seccomp.Syscalls {
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
