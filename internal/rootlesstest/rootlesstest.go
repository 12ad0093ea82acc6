// Package rootlesstest runs a package's tests once more in an account that is
// not root, which exists only there.
package rootlesstest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// uid is the account's uid and gid. What the kernel counts by uid is not to be
// shared with the tests of another package, which run at the same time.
func uid() int { return 43210 + os.Getpid()%256 }

// Again says what is run.
type Again struct {
	Run     string            // which tests, as for go test -run; at least one must pass
	Env     []string          // besides PATH, HOME and TMPDIR
	Copies  map[string]string // files that it needs and could not reach: from where, by the variable that tells it the copy's path
	NoSkips bool              // none of them may be skipped
	Prepare string            // shell commands, run before by root in the mount namespace that is the account's alone
}

// asNobodyElse makes the account in a private mount namespace, and runs this
// test's program as it.
const asNobodyElse = `set -e
mount --make-rprivate /
%[2]s
for f in passwd group subuid subgid; do
	[ -e /etc/$f ] || : > /etc/$f
	mount --bind "$HOME/$f" /etc/$f
done
exec setpriv --reuid=%[1]d --regid=%[1]d --clear-groups "$HOME/test" -test.run="$RUN" -test.v -test.count=1
`

// Run runs the tests, and fails with all that they printed where one fails. It
// returns how many passed, subtests not counted. Those that were skipped are
// skipped here too, as subtests of the same name with the same reason, so that
// they are counted. It skips when this process is not root.
func Run(t *testing.T, again Again) (passed int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the tests run in an account that is not root already")
	}
	passed, skips, out, err := run(t, again)
	if err != nil || passed == 0 || again.NoSkips && len(skips) > 0 {
		t.Fatalf("%d tests passed, %d were skipped: %v\n%s", passed, len(skips), err, out)
	}
	for _, s := range skips {
		t.Run(s.test, func(t *testing.T) { t.Skip(s.why) })
	}
	t.Logf("%s", out)
	return passed
}

// run makes the account and runs the tests in it. The error is how they ended.
func run(t *testing.T, again Again) (passed int, skips []skipped, out string, err error) {
	t.Helper()
	for _, program := range []string{"newuidmap", "setpriv", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is needed: apt-get install uidmap util-linux", program)
		}
	}
	home, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	copies, err := account(home, again.Copies)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", fmt.Sprintf(asNobodyElse, uid(), again.Prepare))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + filepath.Join(home, "tmp"), "RUN=" + again.Run, "GORACE=" + os.Getenv("GORACE")}, again.Env...)
	cmd.Env = append(cmd.Env, copies...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	b, err := cmd.CombinedOutput()
	passed, skips = results(string(b))
	return passed, skips, string(b), err
}

// account fills home with what the account needs, the test's own program among
// it, and returns the variables that tell of copies.
func account(home string, from map[string]string) (env []string, err error) {
	ids := "rootless:1000000:65536\n"
	err = errors.Join(
		added("/etc/passwd", fmt.Sprintf("rootless:x:%d:%d::%s:/bin/sh\n", uid(), uid(), home), filepath.Join(home, "passwd")),
		added("/etc/group", fmt.Sprintf("rootless:x:%d:\n", uid()), filepath.Join(home, "group")),
		os.WriteFile(filepath.Join(home, "subuid"), []byte(ids), 0o644),
		os.WriteFile(filepath.Join(home, "subgid"), []byte(ids), 0o644),
		Copy("/proc/self/exe", filepath.Join(home, "test")))
	for name, path := range from {
		to := filepath.Join(home, strings.ToLower(name))
		err = errors.Join(err, Copy(path, to))
		env = append(env, name+"="+to)
	}
	tmp := filepath.Join(home, "tmp")
	err = errors.Join(err, os.Mkdir(tmp, 0o700), os.Chown(tmp, uid(), uid()),
		os.Chown(home, uid(), uid()), os.Chmod(home, 0o755)) // sandboxes execute programs in it
	return env, err
}

// added writes what a file says and a line more to another.
func added(from, line, to string) error {
	have, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(have, line...), 0o644)
}

// Copy makes a copy of a program that any account may execute.
func Copy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
