package helper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/idmap"
	"staithe/internal/station"
)

// helperEnv makes this test's program a helper.
const helperEnv = "STAITHE_TEST_FILES_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		if err := Main(slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a helper in a process of its own.
type process struct {
	bench
	cmd *exec.Cmd
	out bytes.Buffer
}

// start starts one that serves dir; jailed as the user with that range, where the
// home belongs to uid 1000 on disk; -1: as this process.
func start(t *testing.T, dir string, uidRange, idle int) *process {
	t.Helper()
	p := &process{bench: bench{t: t, dir: dir}}
	sock := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: sock, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	lf, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer lf.Close()
	ln.SetUnlinkOnClose(false)
	ln.Close()
	cfg := Config{Version: "test", Home: dir, Inside: "/home/dev", Idle: idle}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.ExtraFiles = []*os.File{lf}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if uidRange >= 0 {
		cfg.UID = station.HostUID(uidRange, station.SandboxUID)
		space, err := idmap.Namespace(idmap.HomeIDs(uidRange))
		if err != nil {
			t.Fatal(err)
		}
		defer space.Close()
		fd, err := idmap.Tree(dir, space, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		tree := os.NewFile(uintptr(fd), "home")
		defer tree.Close()
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, tree)
		p.cmd.SysProcAttr.Cloneflags = Namespaces
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Groups: []uint32{4, 6}} // which it is to give up
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = []string{helperEnv + "=1", "GORACE=" + os.Getenv("GORACE")}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = configFile(t, b), &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}}}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("the helper said: %s", p.out.String())
		}
	})
	return p
}

// configFile is an open file with the configuration.
func configFile(t *testing.T, b []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "config")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// A helper that has much to remove of what another left answers meanwhile.
func TestAnswersWhileItSweeps(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".local/share/staithe/staging/left")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 50000 {
		if err := os.WriteFile(filepath.Join(left, strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, dir, -1, 0)
	must[filesapi.Health](&p.bench, "GET", filesapi.PathHealth, nil, nil)
	if _, err := os.Lstat(left); err != nil {
		t.Errorf("it answered only after it had removed all: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Lstat(left); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not removed")
		}
		must[filesapi.Health](&p.bench, "GET", filesapi.PathHealth, nil, nil)
	}
}

// A helper's memory and descriptors are bounded, however it was started.
func TestAbuse37_HelpersLimits(t *testing.T) {
	p := start(t, t.TempDir(), -1, 0)
	must[filesapi.Health](&p.bench, "GET", filesapi.PathHealth, nil, nil)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"Max open files": openFiles, "Max core file size": 0, "Max data size": memoryMost}
	if memoryMost == 0 {
		delete(want, "Max data size")
	}
	for line := range strings.Lines(string(b)) {
		for name, most := range want {
			if rest, ok := strings.CutPrefix(line, name); ok {
				f := strings.Fields(rest)
				if n, err := strconv.Atoi(f[1]); err != nil || n > most {
					t.Errorf("%s", line)
				}
				delete(want, name)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
}

// A jailed helper is the user, has no rights, sees the home and nothing else, and
// what it makes belongs to uid 1000 on disk.
func TestAbuse24_Jail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a jail needs root")
	}
	dir := t.TempDir()
	if err := idmap.Try(dir); err != nil {
		t.Skip("this file system cannot be mounted idmapped: ", err)
	}
	if err := os.Chown(dir, station.SandboxUID, station.SandboxUID); err != nil {
		t.Fatal(err)
	}
	const uidRange = 7
	p := start(t, dir, uidRange, 0)
	h := must[filesapi.Health](&p.bench, "GET", filesapi.PathHealth, nil, nil)
	if strings.Join(h.Jail, " ") != "no_new_privs root namespaces uid seccomp" {
		t.Errorf("%+v", h)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(station.HostUID(uidRange, station.SandboxUID))
	four := strings.Repeat("\t"+id, 4)
	for _, line := range []string{"Uid:" + four, "Gid:" + four, "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
		"CapEff:\t0000000000000000", "Groups:\t ", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("no %q in\n%s", line, status)
		}
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		own, err := os.Readlink("/proc/self/ns/" + ns)
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.cmd.Process.Pid, ns))
		if err != nil || err2 != nil || own == its {
			t.Errorf("namespace %s: %s and %s, %v %v", ns, own, its, err, err2)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", p.cmd.Process.Pid))
	if err != nil || strings.Count(string(mounts), "\n") != 1 || !strings.Contains(string(mounts), " / ") {
		t.Errorf("it sees the mounts %s, %v", mounts, err)
	}
	must[files.Entry](&p.bench, "PUT", filesapi.PathContent, path("f"), "content")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "f"), &st); err != nil || st.Uid != station.SandboxUID || st.Gid != station.SandboxUID {
		t.Errorf("the file is of %d:%d: %v", st.Uid, st.Gid, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "roots"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, c, _ := p.ask("GET", filesapi.PathContent, path("roots"), nil); status != 403 {
		t.Errorf("another's file: %d %s", status, c)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// Without root a helper serves as it was started.
func TestUnjailed(t *testing.T) {
	p := start(t, t.TempDir(), -1, 0)
	if h := must[filesapi.Health](&p.bench, "GET", filesapi.PathHealth, nil, nil); strings.Join(h.Jail, " ") != "no_new_privs seccomp" && strings.Join(h.Jail, " ") != "no_new_privs landlock seccomp" {
		t.Errorf("%+v", h)
	}
	must[files.Entry](&p.bench, "PUT", filesapi.PathContent, path("f"), "content")
}

// A helper ends when nobody has asked for anything for its time, and not before.
func TestEndsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		w := &watch{idle: time.Minute, end: time.AfterFunc(time.Minute, func() { ended <- time.Now() })}
		h := w.over(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Minute) }))
		begin := time.Now()
		time.Sleep(30 * time.Second)
		h.ServeHTTP(nil, nil)
		if after := (<-ended).Sub(begin); after != 30*time.Second+5*time.Minute+time.Minute {
			t.Errorf("it ended after %v", after)
		}
	})
}

func TestIdleProcessEnds(t *testing.T) {
	p := start(t, t.TempDir(), -1, 1)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
