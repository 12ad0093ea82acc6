package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"staithe/internal/idmap"
	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "staithe-backup" {
		os.Exit(jail.Main())
	}
	os.Exit(m.Run())
}

// bench is a home and a Git.
type bench struct {
	*Git
	t    *testing.T
	home Home
}

func newBench(t *testing.T) *bench {
	t.Helper()
	program, err := Find()
	if err != nil {
		t.Skip("SKIPPED, git: ", err)
	}
	if err := jail.Check(); err != nil {
		t.Skip("SKIPPED, git's jail: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, home: Home{Workstation: station.Workstation{ID: "abcdefghijkl", UIDRange: 3}, Path: t.TempDir(), Inside: "/home/dev"}}
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(b.home.Path), 0o755); err != nil { // the way for the home's user
			t.Fatal(err)
		}
		if err := idmap.Try(b.home.Path); err != nil {
			t.Skip("SKIPPED, this file system cannot be mounted idmapped: ", err)
		}
	}
	if b.Git, err = Open(Options{Program: program, Launcher: self, Root: filepath.Join(t.TempDir(), "root")}); err != nil {
		t.Fatal(err)
	}
	b.give()
	return b
}

// give makes all in the home its user's.
func (b *bench) give() {
	b.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", "1000:1000", b.home.Path).CombinedOutput(); err != nil {
		b.t.Fatalf("%v %s", err, out)
	}
}

// git runs git in a folder of the home, as in a session.
func (b *bench) git(folder string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "safe.directory=*", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = filepath.Join(b.home.Path, folder)
	cmd.Env = []string{"HOME=" + b.home.Path, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1"}
	b.as(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// as makes a program run as the home's user.
func (b *bench) as(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	}
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	at := filepath.Join(b.home.Path, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.give()
}

func (b *bench) status(folder string) Status {
	b.t.Helper()
	s, err := b.Status(b.t.Context(), b.home, []byte(folder))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// codes is the entries as one text.
func (s Status) codes() string {
	var all []string
	for _, e := range s.Entries {
		all = append(all, e.Code+" "+string(e.Path))
	}
	return strings.Join(all, "|")
}
