package oci

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"staithe/internal/sandbox/sandboxtest"
)

// rootlessUID is an account that exists only in the test's mount namespace.
const rootlessUID = 43210

// asNobodyElse makes, in a private mount namespace, an account with ids for
// sandboxes, and runs this test's program as it.
const asNobodyElse = `set -e
mount --make-rprivate /
# crun takes pure layouts only; without it this is v1, which will do.
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
mount --bind "$FILES/passwd" /etc/passwd
mount --bind "$FILES/group" /etc/group
for f in subuid subgid; do
	[ -e /etc/$f ] || : > /etc/$f
	mount --bind "$FILES/$f" /etc/$f
done
exec setpriv --reuid=%[1]d --regid=%[1]d --clear-groups "$FILES/test" -test.run="$RUN" -test.v=$VERBOSE
`

// TestRootless runs the conformance suite and the attacks again in a gateway
// that is not root.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests run rootless already")
	}
	for _, program := range []string{"newuidmap", "setpriv", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is needed: apt-get install uidmap util-linux", program)
		}
	}
	dir, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	account(t, dir)

	cmd := exec.Command("unshare", "--mount", "sh", "-c", fmt.Sprintf(asNobodyElse, rootlessUID))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FILES=" + dir, "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"),
		sandboxtest.GuestEnv + "=" + filepath.Join(dir, "guest"),
		"RUN=^(TestConformance|TestAbuse.*)$", fmt.Sprintf("VERBOSE=%v", testing.Verbose())}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// account fills dir with what the account needs.
func account(t *testing.T, dir string) {
	t.Helper()
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	range1 := "rootless:1000000:65536\n"
	files := map[string]string{
		"passwd": string(passwd) + fmt.Sprintf("rootless:x:%d:%d::%s:/bin/sh\n", rootlessUID, rootlessUID, dir),
		"group":  string(group) + fmt.Sprintf("rootless:x:%d:\n", rootlessUID),
		"subuid": range1, "subgid": range1,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for from, name := range map[string]string{self: "test", sandboxtest.Guest(t): "guest"} {
		program, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, tmp} {
		if err := os.Chown(path, rootlessUID, rootlessUID); err != nil {
			t.Fatal(err)
		}
	}
}
