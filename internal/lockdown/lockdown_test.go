package lockdown

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A process that is locked down has its folder and its threads, and nothing else.
func TestAbuse24_LockedDown(t *testing.T) {
	dir := t.TempDir()
	program, home, outside := filepath.Join(dir, "probe"), filepath.Join(dir, "home"), filepath.Join(dir, "outside")
	build := exec.Command("go", "build", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, d := range []string{home, outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, home, outside).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.HasPrefix(string(out), "unsupported") {
		t.Skip("SKIPPED, Landlock: ", string(out))
	}
	const ok, no, denied = "0", "1", "13" // EPERM, EACCES
	for what, want := range map[string]string{"read": denied, "write": denied, "remove": denied, "truncate": denied, "list": denied, "link": denied,
		"own": ok, "mkdir": ok, "move": ok, "out": denied,
		"exec": no, "start": no, "socket": no, "mount": no, "unshare": no} {
		if !strings.Contains(string(out), "\n"+what+"="+want+"\n") && !strings.HasPrefix(string(out), what+"="+want+"\n") {
			t.Errorf("%s is not %s", what, want)
		}
	}
	// Landlock keeps signals back from version 6 on.
	if !strings.Contains(string(out), "signal=1\n") {
		t.Logf("it may signal others: the kernel's Landlock is older")
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
