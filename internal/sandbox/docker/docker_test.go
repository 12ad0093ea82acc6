package docker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	code := sandboxtest.Main(m)
	for _, s := range services {
		s.stop()
	}
	os.Exit(code)
}

// hostEnv hands a running service to a test process of a test.
const hostEnv = "STAITHE_TEST_SERVICE_"

// service is a private Docker or Podman, in mount and network namespaces of its
// own, so that it touches nothing of the machine's. It is started once for all
// tests of a process.
type service struct {
	once sync.Once
	dir  string
	host string
	cmd  *exec.Cmd
	why  string // not empty: it cannot be had
}

var services = map[Kind]*service{Docker: {}, Podman: {}}

// need starts a service or skips, loudly.
func need(t testing.TB, kind Kind) string {
	t.Helper()
	s := services[kind]
	s.once.Do(func() { s.start(kind) })
	if s.why != "" {
		t.Skipf("SKIP(%s): %s", kind, s.why)
	}
	return s.host
}

func (s *service) start(kind Kind) {
	if host := os.Getenv(hostEnv + string(kind)); host != "" {
		s.host = host
		return
	}
	if os.Geteuid() != 0 {
		s.why = "a private service needs root; run the tests as root"
		return
	}
	program := map[Kind]string{Docker: "dockerd", Podman: "podman"}[kind]
	for _, p := range []string{program, "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			s.why = p + " is not installed; run tools/setup.sh test"
			return
		}
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "staithe-"+string(kind)+"-"); err != nil {
		s.why = err.Error()
		return
	}
	path := filepath.Join(s.dir, "api.sock")
	s.host = "unix://" + path
	args := []string{"-n", "-m", "--propagation", "private"}
	switch kind {
	case Docker:
		args = append(args, "dockerd", "--data-root", filepath.Join(s.dir, "root"), "--exec-root", filepath.Join(s.dir, "exec"),
			"--pidfile", filepath.Join(s.dir, "pid"), "-H", s.host, "--exec-opt", "native.cgroupdriver=cgroupfs",
			"--iptables=false", "--bridge=none", "--containerd-namespace", "staithe-test")
	case Podman:
		conf := filepath.Join(s.dir, "containers.conf")
		text := "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			s.why = err.Error()
			return
		}
		// Its locks are a file in /dev/shm that all services of a machine share, and
		// that would stay.
		args = append(args, "sh", "-c", `mount -t tmpfs shm /dev/shm && exec "$@"`, "sh",
			"env", "CONTAINERS_CONF="+conf, "podman", "--root", filepath.Join(s.dir, "root"), "--runroot", filepath.Join(s.dir, "run"),
			"--tmpdir", filepath.Join(s.dir, "tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc",
			"--storage-driver", "overlay", "system", "service", "--time", "0", s.host)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.why = err.Error()
		return
	}
	defer log.Close()
	s.cmd = exec.Command("unshare", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.why = err.Error()
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			s.cmd, s.why = nil, fmt.Sprintf("%s does not run here: %v: %s", program, err, s.tail())
			return
		case <-limit:
			s.why = program + " does not listen within a minute: " + s.tail()
			return
		case <-tick.C:
		}
	}
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
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(unix.SIGTERM)
		gone := func() bool { return syscall.Kill(-s.cmd.Process.Pid, 0) != nil }
		for end := time.Now().Add(20 * time.Second); !gone() && time.Now().Before(end); {
			_, _ = unix.Poll(nil, 50)
		}
		_ = syscall.Kill(-s.cmd.Process.Pid, unix.SIGKILL)
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

// able is what a container service honestly cannot do.
func able(kind Kind) sandboxtest.Abilities {
	return sandboxtest.Abilities{
		NoUserNS:    "the service maps no user ids of ours: the guest is the host's root with four capabilities",
		NoOOMName:   "the service does not say what was killed",
		NoPTYs:      "the service's devpts has no limit",
		NoInotify:   "without a user namespace there is no limit of a sandbox's own",
		NoImage:     "the provider takes no images yet",
		NoSudo:      "without a user namespace root inside would be the host's",
		NoLogBound:  "",
		LateService: "the service may still be making the container that a killed server asked for, under the same name",
	}
}

func opener(t testing.TB, kind Kind) sandboxtest.Open {
	t.Helper()
	host := need(t, kind)
	return func(t *testing.T, data string) sandbox.Runtime {
		t.Helper()
		rt, err := New(Options{Data: data, Kind: kind, Host: host, Log: discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rt.Close() })
		return rt
	}
}

// each runs a test with every service.
func each(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities)) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) { f(t, opener(t, kind), able(kind)) })
	}
}

func TestConformance(t *testing.T) { each(t, sandboxtest.Run) }

func TestAbuse35_HostIsOutOfReach(t *testing.T) { each(t, sandboxtest.HostIsOutOfReach) }

func TestAbuse37_ForkBombIsHeld(t *testing.T) { each(t, sandboxtest.ForkBombIsHeld) }

func TestAbuse38_KernelIsClosed(t *testing.T) { each(t, sandboxtest.KernelIsClosed) }

func TestAbuse40_GuestSurvivesTheGateway(t *testing.T) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) {
			open := opener(t, kind)
			t.Setenv(hostEnv+string(kind), services[kind].host)
			t.Setenv("STAITHE_TEST_KIND", string(kind))
			sandboxtest.GuestSurvives(t, open, able(kind), "TestChild")
		})
	}
}

// TestChild is the gateway that TestAbuse40_GuestSurvivesTheGateway kills.
func TestChild(t *testing.T) {
	if kind := Kind(os.Getenv("STAITHE_TEST_KIND")); kind != "" {
		sandboxtest.Child(t, opener(t, kind))
	}
}

// A service that is down is said to be, and of what no session knows it is not
// asked.
func TestServiceDown(t *testing.T) {
	rt, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: "unix://" + filepath.Join(t.TempDir(), "none.sock"), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "systemctl start docker") {
		t.Errorf("start: %v", err)
	}
	if _, err := rt.List(t.Context()); err == nil {
		t.Error("an empty list of a service that is down")
	}
	if _, there, err := rt.Find(t.Context(), spec.Session); there || err != nil {
		t.Errorf("find: %v %v", there, err)
	}
	if err := rt.Stop(context.Background(), spec.Session); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: "tcp://127.0.0.1:2375", Log: discard}); err == nil {
		t.Error("a service elsewhere was taken")
	}
}
