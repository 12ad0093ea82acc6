package restic

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

// While restic walks, folders are replaced by links to a folder outside that has
// the same names, and back, all the time. Nothing of outside gets into a
// snapshot.
func TestAbuse24_SymlinkSwapDuringBackup(t *testing.T) {
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home, outside := t.TempDir(), t.TempDir()
	const folders, files = 40, 10
	for d := range folders {
		for f := range files {
			for base, text := range map[string]string{home: "mine", outside: "SECRET"} {
				dir := filepath.Join(base, fmt.Sprint("d", d))
				try(t, os.MkdirAll(dir, 0o700))
				try(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", f)), []byte(text), 0o600))
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var swaps atomic.Int64
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			for d := range folders {
				dir := filepath.Join(home, fmt.Sprint("d", d))
				link := dir + "-link"
				if err := os.Symlink(filepath.Join(outside, fmt.Sprint("d", d)), link); err != nil {
					t.Error(err)
					return
				}
				for range 2 { // there and back
					if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
						t.Error(err)
						return
					}
					swaps.Add(1)
				}
				if err := os.Remove(link); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	defer work.Wait()
	defer stop()
	const rounds = 5
	for i := range rounds {
		s, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws", Tags: []string{fmt.Sprint(i)}}, nil)
		try(t, err)
		into := t.TempDir()
		_, err = r.Restore(t.Context(), RestoreRequest{Snapshot: s.ID, Into: into})
		try(t, err)
		got, err := exec.CommandContext(t.Context(), "grep", "-rl", "SECRET", into).Output()
		if len(got) > 0 || err == nil {
			t.Fatalf("of outside: %s", got)
		}
		mine, err := exec.CommandContext(t.Context(), "grep", "-rl", "mine", into).Output()
		if err != nil || len(mine) == 0 {
			t.Errorf("nothing of the home is in it: %v", err)
		}
	}
	if n := swaps.Load(); n < 1000 {
		t.Errorf("only %d exchanges: this tried little", n)
	}
}

// A link out of the home is stored as a link.
func TestAbuse25_LinkStaysALink(t *testing.T) {
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, os.MkdirAll(filepath.Join(home, ".config"), 0o700))
	try(t, os.Symlink("/etc", filepath.Join(home, ".config", "x")))
	s, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	seen := map[string]string{}
	try(t, r.Ls(t.Context(), LsRequest{Snapshot: s.ID}, func(n Node) error { seen[n.Path] = n.Type; return nil }))
	if len(seen) != 3 || seen[".config/x"] != "symlink" {
		t.Errorf("%v", seen)
	}
	into := t.TempDir()
	_, err = r.Restore(t.Context(), RestoreRequest{Snapshot: s.ID, Into: into})
	try(t, err)
	if to, err := os.Readlink(filepath.Join(into, "home", ".config", "x")); err != nil || to != "/etc" {
		t.Errorf("%q %v", to, err)
	}
}

// What runs in the jail has one capability, can get no other, sees no process, no
// network and no file of the host, and can write to its own places alone. A
// folder's owner does not keep it out.
func TestAbuse24_ResticsJail(t *testing.T) {
	r, o := open(t)
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "theirs"), []byte("content"), 0o600))
	if os.Geteuid() == 0 {
		try(t, os.Lchown(filepath.Join(home, "theirs"), station.SandboxUID, station.SandboxUID))
		try(t, os.Lchown(home, station.SandboxUID, station.SandboxUID))
	}
	got := lookInJail(t, r, o, home, "")
	want := "content\n/: bin cache dev etc home lib lib64 repository\n/etc: \n" + o.Host + "\n"
	for _, lib := range []string{" etc", " lib", " lib64", "/etc: \n"} { // where there are none
		if !strings.Contains(got, lib) {
			want = strings.Replace(want, lib, "", 1)
		}
	}
	if got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// lookInJail is what lookAround says in a jail as restic's.
func lookInJail(t *testing.T, r *Repo, o Options, home, handle string) string {
	t.Helper()
	libs, err := jail.ProgramFiles(o.Launcher)
	try(t, err)
	binds := append([]jail.Bind{}, r.binds...)
	have := map[string]bool{}
	for _, b := range binds {
		have[b.To] = true
	}
	for _, f := range libs {
		if !have[f] {
			binds = append(binds, jail.Bind{From: f, To: f, Exec: true, Follow: true})
		}
	}
	binds = append(binds, jail.Bind{From: home, To: Top}, jail.Bind{From: o.Launcher, To: "/bin/probe", Exec: true})
	var out, errs bytes.Buffer // the race detector of a test's program complains on the latter
	p, err := jail.Start(t.Context(), o.Launcher, jail.Spec{Root: o.Cache, Host: o.Host, Binds: binds, Caps: []uintptr{unix.CAP_DAC_READ_SEARCH},
		Args: []string{"/bin/probe", probe}, Env: []string{handleEnv + "=" + handle}}, &out, &errs)
	try(t, err)
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return out.String()
}

// By its handle a file is opened without a path, wherever it is on the disk that the
// home is on: whoever has CAP_DAC_READ_SEARCH may, and handles can be made up.
func TestAbuse24_OpenByHandle(t *testing.T) {
	r, o := open(t)
	home, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	try(t, os.WriteFile(filepath.Join(home, "theirs"), []byte("content"), 0o600))
	try(t, os.WriteFile(outside, []byte("SECRET"), 0o600))
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, outside, 0)
	if err != nil {
		t.Skip("SKIPPED, handles: the file system of temporary files has none: ", err)
	}
	got := lookInJail(t, r, o, home, fmt.Sprintf("%d:%x", handle.Type(), handle.Bytes()))
	if !strings.Contains(got, "by its handle: operation not permitted\n") || strings.Contains(got, "SECRET") {
		t.Errorf("it says %q", got)
	}
}

// handleEnv has a file's handle for lookAround: its type and its bytes.
const handleEnv = "HANDLE"

// openByHandle reads a file of the disk that the home is on.
func openByHandle(text string) (string, error) {
	kind, digits, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(kind)
	if err != nil {
		return "", err
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return "", err
	}
	home, err := unix.Open("/home", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(home)
	fd, err := unix.OpenByHandleAt(home, unix.NewFileHandle(int32(n), b), unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), "file")
	defer f.Close()
	content, err := io.ReadAll(f)
	return string(content), err
}

// probe makes this test's program look around.
const probe = "look-around-in-the-jail"

func lookAround() {
	content, err := os.ReadFile("/home/theirs")
	fmt.Println(string(content))
	if err != nil {
		fmt.Println(err)
	}
	for what, do := range map[string]func() error{
		"write the home":    func() error { return os.WriteFile("/home/new", nil, 0o600) },
		"write the root":    func() error { return os.WriteFile("/new", nil, 0o600) },
		"write the program": func() error { return os.WriteFile("/bin/restic", nil, 0o600) },
		"mount":             func() error { return unix.Mount("proc", "/cache", "proc", 0, "") },
		"make a device":     func() error { return unix.Mknod("/cache/dev", unix.S_IFBLK, 1) },
		"change the owner":  func() error { return os.Chown("/bin/restic", 5, 5) },
		"see processes":     func() error { _, err := os.ReadDir("/proc"); return err },
		"change the root":   func() error { return unix.Chroot("/home") },
		"read its network":  func() error { _, err := net.Dial("tcp", "127.0.0.1:80"); return unreached(err) },
		"become another":    func() error { return unix.Setresuid(7, 7, 7) },
		"see another root":  func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"watch a program":   func() error { _, err := unix.PtraceGetEventMsg(unix.Getpid()); return refused(err) },
		"load into kernels": func() error { return refused(bpf()) },
	} {
		if do() == nil {
			fmt.Println("IT CAN", what)
		}
	}
	if err := os.WriteFile("/cache/new", nil, 0o600); err != nil {
		fmt.Println(err)
	}
	for _, dir := range []string{"/", "/etc"} {
		if list, err := os.ReadDir(dir); err == nil {
			fmt.Print(dir, ":")
			for _, e := range list {
				if e.Name()[0] != '.' {
					fmt.Print(" ", e.Name())
				}
			}
			fmt.Println()
		}
	}
	if handle := os.Getenv(handleEnv); handle != "" {
		content, err := openByHandle(handle)
		fmt.Printf("by its handle: %v%s\n", err, content)
	}
	host, _ := os.Hostname()
	fmt.Println(host)
}

// refused is an error where a call was not let through, and nil where the kernel
// looked at it.
func refused(err error) error {
	if errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

func bpf() error {
	_, _, e := unix.Syscall(unix.SYS_BPF, ^uintptr(0), 0, 0)
	return e
}

// unreached is an error where there is no network: with one it is refused, or not.
func unreached(err error) error {
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return err
}

// The rights of a running restic, as the kernel tells them.
func TestAbuse24_ResticsRights(t *testing.T) {
	_, o := open(t)
	sleep, err := exec.LookPath("sleep")
	try(t, err)
	libs, err := jail.ProgramFiles(sleep)
	try(t, err)
	binds := []jail.Bind{{From: sleep, To: sleep, Exec: true, Follow: true}}
	for _, f := range libs {
		binds = append(binds, jail.Bind{From: f, To: f, Exec: true, Follow: true})
	}
	ctx, stop := context.WithCancel(t.Context())
	p, err := jail.Start(ctx, o.Launcher, jail.Spec{Root: o.Cache, Host: o.Host, Binds: binds, Caps: []uintptr{unix.CAP_DAC_READ_SEARCH},
		HighPID: true, Args: []string{sleep, "600"}, Env: []string{"SECRET=x"}}, os.Stderr, os.Stderr)
	try(t, err)
	defer func() { stop(); _ = p.Wait() }()
	var child string
	soon(t, "the program runs", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
		child = strings.TrimSpace(string(b))
		comm, _ := os.ReadFile("/proc/" + child + "/comm") // it may not be there yet
		return err == nil && strings.TrimSpace(string(comm)) == "sleep"
	})
	status, err := os.ReadFile("/proc/" + child + "/status")
	try(t, err)
	want := []string{"CapPrm:\t0000000000000004", "CapEff:\t0000000000000004", "CapBnd:\t0000000000000004", "CapInh:\t0000000000000004", "NoNewPrivs:\t1", "Seccomp:\t2"}
	for _, line := range want {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("no %q in\n%s", line, status)
		}
	}
	if first, err := os.ReadFile("/proc/" + child + "/oom_score_adj"); err != nil || string(first) != "1000\n" {
		t.Errorf("when memory ends: %q %v", first, err)
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		own, err := os.Readlink("/proc/self/ns/" + ns)
		its, err2 := os.Readlink("/proc/" + child + "/ns/" + ns)
		if err != nil || err2 != nil || own == its {
			t.Errorf("namespace %s: %s and %s, %v %v", ns, own, its, err, err2)
		}
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
	if err != nil || strings.Contains(string(cmdline), "SECRET") {
		t.Errorf("the launcher's arguments: %q %v", cmdline, err)
	}
	fds, err := os.ReadDir("/proc/" + child + "/fd")
	if err != nil || len(fds) != 3 {
		t.Errorf("it has %d files open, %v", len(fds), err)
	}
}
