package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"staithe/internal/idmap"
	"staithe/internal/station"
)

// rootlessUID is an account that exists only in the test's mount namespace.
const rootlessUID = 43211

// asNobodyElse makes, in a private mount namespace, an account with ids for
// sandboxes, and runs this test's program as it.
const asNobodyElse = `set -e
mount --make-rprivate /
for f in passwd group subuid subgid; do
	[ -e /etc/$f ] || : > /etc/$f
	mount --bind "$FILES/$f" /etc/$f
done
exec setpriv --reuid=%[1]d --regid=%[1]d --clear-groups "$FILES/test" -test.run="$RUN" -test.v
`

// TestRootless runs the tests of the store, the formats and the registry again in
// an account that is not root.
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
	makeAccount(t, dir)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", fmt.Sprintf(asNobodyElse, rootlessUID))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FILES=" + dir, "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"),
		"RUN=^(TestImport.*|TestPull.*|TestHold.*|TestStopped.*|TestPath.*|TestOwners.*|TestTheImages.*)$"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if passed := strings.Count(string(out), "\n--- PASS"); passed < 20 || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%d tests passed:\n%s", passed, out)
	}
}

// makeAccount fills dir with what the account needs.
func makeAccount(t *testing.T, dir string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	ids := "rootless:1000000:65536\n"
	for name, text := range map[string]string{"subuid": ids, "subgid": ids,
		"passwd": fmt.Sprintf("root:x:0:0::/root:/bin/sh\nrootless:x:%d:%d::%s:/bin/sh\n", rootlessUID, rootlessUID, dir),
		"group":  fmt.Sprintf("root:x:0:\nrootless:x:%d:\n", rootlessUID)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "test"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "tmp")} {
		if err := os.Chown(path, rootlessUID, rootlessUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Files are on disk as those ids that stand behind a sandbox's.
func TestOwnersAreThoseOfSandboxes(t *testing.T) {
	s := newStore(t, Options{})
	more := []entry{{name: "root/x", uid: 0, gid: 0}, {name: "srv/app", uid: 1000, gid: 1000}, {name: "srv/far", uid: 60000, gid: 42}, {name: "usr/bin/su", mode: 0o4755, body: "x"}}
	img := mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one", more...)...)))
	outside := func(id uint32, _ []idmap.Map) uint32 { return id }
	var uids, gids []idmap.Map
	if os.Geteuid() != 0 {
		var err error
		if uids, gids, err = idmap.Rootless(); err != nil {
			t.Fatal(err)
		}
		outside = func(id uint32, maps []idmap.Map) uint32 {
			for _, m := range maps {
				if id >= m.Inside && id-m.Inside < m.Size {
					return m.Outside + id - m.Inside
				}
			}
			t.Fatalf("%d is not mapped", id)
			return 0
		}
		if outside(station.SandboxUID, uids) != uint32(os.Getuid()) {
			t.Fatal("the account is not its sandboxes' person")
		}
	}
	for _, e := range more {
		info, err := os.Lstat(filepath.Join(img.Rootfs, e.name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != outside(uint32(e.uid), uids) || st.Gid != outside(uint32(e.gid), gids) || e.mode&0o4000 != 0 != (info.Mode()&os.ModeSetuid != 0) {
			t.Errorf("%s: %d:%d %v", e.name, st.Uid, st.Gid, info.Mode())
		}
	}
}
