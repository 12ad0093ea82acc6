package egress_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// rootlessUID is an account that exists only in the test's mount namespace.
const rootlessUID = 43211

// asNobodyElse makes the account, with ids for sandboxes, and runs this test's
// program as it, in the same network namespace.
const asNobodyElse = `set -e
mount --make-rprivate /
for f in passwd group subuid subgid; do
	[ -e /etc/$f ] || : > /etc/$f
	mount --bind "$FILES/$f" /etc/$f
done
exec setpriv --reuid=%[1]d --regid=%[1]d --clear-groups "$FILES/test" -test.run="$RUN" -test.v=$VERBOSE -test.count=1
`

// TestRootless runs the tests again in a gateway that is not root.
func TestRootless(t *testing.T) {
	needWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("the tests run rootless already")
	}
	dir, err := os.MkdirTemp("", "egress-rootless")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, more := range map[string]string{
		"passwd": fmt.Sprintf("rootless:x:%d:%d::%s:/bin/sh\n", rootlessUID, rootlessUID, dir),
		"group":  fmt.Sprintf("rootless:x:%d:\n", rootlessUID),
		"subuid": "rootless:1000000:65536\n",
		"subgid": "rootless:1000000:65536\n",
	} {
		have := []byte(nil)
		if name == "passwd" || name == "group" {
			if have, err = os.ReadFile("/etc/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(have, more...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyProgram(t, "/proc/self/exe", filepath.Join(dir, "test"))
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, tmp} {
		if err := os.Chown(path, rootlessUID, rootlessUID); err != nil {
			t.Fatal(err)
		}
	}
	// Others' sandboxes execute the test's program.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", fmt.Sprintf(asNobodyElse, rootlessUID))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FILES=" + dir, "HOME=" + dir, "TMPDIR=" + tmp,
		partEnv + "=" + partUser, binEnv + "=" + egressBinary, confEnv + "=" + resolvConf,
		"RUN=^(TestA|TestInternet|TestIt|TestStarts)", fmt.Sprintf("VERBOSE=%v", testing.Verbose())}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
