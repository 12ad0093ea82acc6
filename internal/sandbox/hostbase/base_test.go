package hostbase

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func keepNone(string) bool { return false }

// The base holds nothing of the host's /etc that not everyone there may read,
// and none of the files that name keys, people or the machine.
func TestBaseTakesNothingSecret(t *testing.T) {
	dir := t.TempDir()
	old := unix.Umask(0o077) // a careful operator's
	defer unix.Umask(old)
	b, err := Ensure(dir, keepNone)
	if err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(b.Rootfs, "etc")
	for _, name := range []string{"shadow", "shadow-", "gshadow", "sudoers", "ssh", "machine-id", "hostid", "fstab", "crypttab", "krb5.keytab",
		"ssl/private", "pip.conf", "npmrc", "gitconfig", "maven", "environment", "subuid", "default", "systemd", "cron.d", "docker"} {
		if _, err := os.Lstat(filepath.Join(etc, name)); err == nil {
			t.Errorf("the base has /etc/%s", name)
		}
	}
	err = filepath.WalkDir(b.Rootfs, func(path string, d fs.DirEntry, err error) error {
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
	again, err := Ensure(dir, keepNone)
	if err != nil || again.Name != b.Name {
		t.Errorf("built again as %s, was %s; %v", again.Name, b.Name, err)
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
	if _, err := Ensure(dir, func(name string) bool { return name == "used" }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"used": true, "unused": false, ".new-123": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
