// Package servicetest gives tests a private Docker or Podman service.
package servicetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	docker = "docker"
	podman = "podman"
	// Remapped is a Docker whose containers have a range of ids of their own.
	Remapped = "docker-remapped"
)

// HostEnv, with a kind behind it, hands a running service to a test process of a
// test.
const HostEnv = "STAITHE_TEST_SERVICE_"

// service is a private Docker or Podman, in mount and network namespaces of its
// own, so that it touches nothing of the machine's. It is started once for all
// tests of a process.
type service struct {
	once sync.Once
	dir  string
	host string
	cmd  *exec.Cmd
	// ended is told how cmd ended.
	ended chan error
	why   string // not empty: it cannot be had
}

var services = map[string]*service{docker: {}, podman: {}, Remapped: {}}

// Need returns the address of a service of a kind, "docker", "podman" or Remapped,
// or skips, loudly. Stop ends it.
func Need(t testing.TB, kind string) (host string) {
	t.Helper()
	s := services[kind]
	s.once.Do(func() { s.start(kind) })
	if s.why != "" {
		t.Skipf("SKIP(%s): %s", kind, s.why)
	}
	return s.host
}

// Stop ends what Need started. TestMain calls it after the tests.
func Stop() {
	for _, s := range services {
		s.stop()
	}
}

// start starts the service and waits until it listens, or says why there is none.
func (s *service) start(kind string) {
	if host := os.Getenv(HostEnv + kind); host != "" {
		s.host = host
		return
	}
	root := os.Geteuid() == 0
	if !root && kind != podman {
		s.why = "a private dockerd needs root; run the tests as root"
		return
	}
	program := map[string]string{docker: "dockerd", Remapped: "dockerd", podman: "podman"}[kind]
	for _, p := range []string{program, "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			s.why = p + " is not installed; run tools/setup.sh test"
			return
		}
	}
	if err := s.launch(kind, root); err != nil {
		s.why = fmt.Sprintf("%s does not run here: %v: %s", program, err, s.tail())
	}
}

func (s *service) launch(kind string, root bool) (err error) {
	// A short name: Podman takes a runroot of 50 bytes at most.
	if s.dir, err = os.MkdirTemp("", kind[:1]); err != nil {
		return err
	}
	s.host = "unix://" + filepath.Join(s.dir, "api.sock")
	args := []string{"unshare", "-n", "-m", "--propagation", "private"}
	switch kind {
	case docker:
		args = append(args, s.dockerd()...)
	case Remapped:
		ids := filepath.Join(s.dir, "ids")
		if err := os.WriteFile(ids, []byte("root:1000000:65536\n"), 0o644); err != nil {
			return err
		}
		args = append(args, "sh", "-c", `for f in subuid subgid; do [ -e /etc/$f ] || : > /etc/$f; mount --bind "$0" /etc/$f; done; exec "$@"`, ids)
		args = append(append(args, s.dockerd()...), "--userns-remap", "root")
	case podman:
		if args, err = s.podman(args, root); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.dir // Podman's conmon leaves a file "oom" where it is
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	s.cmd = cmd
	return s.listens()
}

// listens waits until the service does, or has ended.
func (s *service) listens() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		if conn, err := net.Dial("unix", strings.TrimPrefix(s.host, "unix://")); err == nil {
			return conn.Close()
		}
		select {
		case err := <-s.ended:
			s.cmd = nil
			return fmt.Errorf("it ended: %w", err)
		case <-limit:
			return errors.New("it does not listen within a minute")
		case <-tick.C:
		}
	}
}

func (s *service) dockerd() []string {
	return []string{"dockerd", "--data-root", filepath.Join(s.dir, "root"), "--exec-root", filepath.Join(s.dir, "exec"),
		"--pidfile", filepath.Join(s.dir, "pid"), "-H", s.host, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--iptables=false", "--bridge=none", "--containerd-namespace", "staithe-" + filepath.Base(s.dir)}
}

// podman is the command of a service, to be run in unshare's namespaces when it
// is root's. Another's makes its own.
func (s *service) podman(unshare []string, root bool) ([]string, error) {
	conf := filepath.Join(s.dir, "containers.conf")
	text := "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args, runtime, storage := []string{}, "crun", "vfs"
	if root {
		// Its locks are a file in /dev/shm that all services of a machine share, and
		// that would stay.
		args, runtime, storage = append(unshare, "sh", "-c", `mount -t tmpfs shm /dev/shm && exec "$@"`, "sh"), "runc", "overlay"
	}
	return append(args, "env", "CONTAINERS_CONF="+conf, "XDG_RUNTIME_DIR="+s.dir,
		"podman", "--root", filepath.Join(s.dir, "root"), "--runroot", filepath.Join(s.dir, "r"),
		"--tmpdir", filepath.Join(s.dir, "tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", runtime,
		"--storage-driver", storage, "system", "service", "--time", "0", s.host), nil
}

func (s *service) tail() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log")) // to tell what there is
	return strings.TrimSpace(string(b[max(0, len(b)-600):]))
}

// stop ends the service and removes what it made.
func (s *service) stop() {
	if s.dir == "" {
		return
	}
	// The process that holds rootless Podman's user namespace outlives the service.
	if b, err := os.ReadFile(filepath.Join(s.dir, "tmp/pause.pid")); err == nil && os.Geteuid() != 0 {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
			_ = syscall.Kill(pid, unix.SIGKILL)
		}
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-s.ended:
		case <-time.After(20 * time.Second):
		}
		_ = syscall.Kill(-s.cmd.Process.Pid, unix.SIGKILL)
	}
	if os.Geteuid() != 0 {
		return // what belongs to its sandboxes' ids goes with the account
	}
	// Its mounts go with its namespace, which ends a moment after it.
	err := os.RemoveAll(s.dir)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); err = os.RemoveAll(s.dir) {
		_, _ = unix.Poll(nil, 50)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
	}
}
