package egress_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/docker/servicetest"
)

// The tests have a small world of their own, in network namespaces that nothing
// else sees: "host", where the tests and the egress processes run; "internet",
// behind one link, with addresses of every kind; and sandboxes. Nothing ever
// leaves it.
const (
	hostPublic  = "93.184.216.1" // the host's own public address
	hostPublic6 = "2606:2800:220:1::1"
	webAddr     = "93.184.216.34" // good.example, evil.example
	cdnAddr     = "93.184.216.35" // cdn-a.example, cdn-b.example
	webAddr6    = "2606:2800:220:1::248"
	privateAddr = "10.1.2.3"
	metaAddr    = "169.254.169.254"
	private6    = "fd00:aa::7"
	nameServer  = "93.184.216.53"
)

// forbidden4 and forbidden6 are addresses in the internet namespace that answer
// to the host and must not answer to a sandbox.
var (
	forbidden4 = []string{privateAddr, metaAddr, "172.16.5.5", "192.168.7.7", "100.64.9.9", "168.63.129.16", "198.18.3.3", "192.0.2.9", "203.0.113.9"}
	forbidden6 = []string{private6, "fec0::7", "2001:db8::7", "64:ff9b::a01:203", "2002:a01:203::1", "2001:0:1::7", "2606:2800:220:9:0:5efe:a01:203"}
)

// Which part this process plays.
const (
	partEnv     = "EGRESS_TEST_PART"
	partHost    = "host"    // in the host namespace, the world is made
	partUser    = "user"    // the same, but not root; the world is the parent's
	partBox     = "box"     // a sandbox's program
	partGateway = "gateway" // a gateway that is to be killed
	binEnv      = "EGRESS_TEST_BINARY"
	confEnv     = "EGRESS_TEST_RESOLV"
)

var (
	egressBinary string // staithe-egress, readable by all
	resolvConf   string
	testFolder   string // open to all
	internetNS   *os.File
)

func TestMain(m *testing.M) {
	code, err := 0, error(nil)
	switch os.Getenv(partEnv) {
	case partBox:
		err = boxMain()
	case partGateway:
		err = gatewayMain()
	case partUser:
		egressBinary, resolvConf = os.Getenv(binEnv), os.Getenv(confEnv)
		code = m.Run()
	case partHost:
		code, err = hostMain(m)
	default:
		code, err = enterWorld(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// enterWorld runs this program again in namespaces of its own.
func enterWorld(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		// No world can be made: the tests that need it skip and say so.
		return m.Run(), nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), partEnv+"="+partHost)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func hostMain(m *testing.M) (code int, err error) {
	for _, p := range []string{"ip", "nft", "nsenter", "setpriv", "newuidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			return 1, fmt.Errorf("%s is needed: apt-get install iproute2 nftables util-linux uidmap", p)
		}
	}
	if testFolder, err = os.MkdirTemp("", "egress-test-*"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(testFolder)
	if err := os.Chmod(testFolder, 0o755); err != nil {
		return 1, err
	}
	if err := buildEgress(); err != nil {
		return 1, err
	}
	resolvConf = filepath.Join(testFolder, "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte("nameserver "+nameServer+"\n"), 0o644); err != nil {
		return 1, err
	}
	if err := makeWorld(); err != nil {
		return 1, err
	}
	code = m.Run()
	servicetest.Stop()
	reports, err := filepath.Glob(filepath.Join(testFolder, "races", "*"))
	for _, path := range reports {
		text, err := os.ReadFile(path)
		fmt.Fprintf(os.Stderr, "an egress process has a race: %s %v\n", text, err)
		code = 1
	}
	return code, err
}

// buildEgress builds the program; under the race detector with that in it, whose
// reports go to a folder, for a way out's own is removed with it.
func buildEgress() error {
	egressBinary = filepath.Join(testFolder, "staithe-egress")
	program, flags, cgo := egressBinary, []string{"-trimpath", "-ldflags", "-s -w"}, "CGO_ENABLED=0"
	if raceDetector {
		program, flags, cgo = egressBinary+"-race", []string{"-race"}, "CGO_ENABLED=1"
		folder := filepath.Join(testFolder, "races")
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(folder, 0o777); err != nil { // each process is another account
			return err
		}
		script := fmt.Sprintf("#!/bin/sh\nexport GORACE=log_path=%s/report\nexec %s \"$@\"\n", folder, program)
		if err := os.WriteFile(egressBinary, []byte(script), 0o755); err != nil {
			return err
		}
	}
	build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", program, "staithe/cmd/staithe-egress")...)
	build.Env = append(os.Environ(), cgo)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// makeWorld makes the internet namespace and its servers.
func makeWorld() error {
	internet, err := onThread(func() (*os.File, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		return os.Open("/proc/thread-self/ns/net")
	})
	if err != nil {
		return fmt.Errorf("make the internet namespace: %w", err)
	}
	internetNS = internet
	hostSide := strings.Join([]string{
		"link set lo up",
		fmt.Sprintf("link add up0 type veth peer name eth0 netns /proc/%d/fd/%d", os.Getpid(), internet.Fd()),
		"link set up0 up",
		"addr add " + hostPublic + "/24 dev up0",
		"-6 addr add " + hostPublic6 + "/64 dev up0 nodad",
		"route add default via " + webAddr,
		"-6 route add default via " + webAddr6,
	}, "\n")
	if err := ip(hostSide); err != nil {
		return err
	}
	there := []string{"link set lo up", "link set eth0 up"}
	for _, a := range append([]string{webAddr + "/24", cdnAddr + "/24", nameServer + "/24"}, with(forbidden4, "/32")...) {
		there = append(there, "addr add "+a+" dev eth0")
	}
	for _, a := range append([]string{webAddr6 + "/64"}, with(forbidden6, "/128")...) {
		there = append(there, "-6 addr add "+a+" dev eth0 nodad")
	}
	_, err = inNS(internet, func() (struct{}, error) {
		if err := ip(strings.Join(there, "\n")); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, serveInternet()
	})
	if err != nil {
		return err
	}
	// The kernel's path is for hosts that forward.
	for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0); err != nil {
			return err
		}
	}
	return serveHost()
}

func with(list []string, suffix string) []string {
	var out []string
	for _, s := range list {
		out = append(out, s+suffix)
	}
	return out
}

// ip runs lines of ip(8) where the calling thread is.
func ip(lines string) error {
	for line := range strings.Lines(lines) {
		out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w %s", strings.TrimSpace(line), err, out)
		}
	}
	return nil
}

func onThread[T any](f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and stands for the process in /proc.
			v, err := onThread(f)
			runtime.UnlockOSThread()
			done <- result{v, err}
			return
		}
		v, err := f()
		done <- result{v, err}
	}()
	r := <-done
	return r.v, r.err
}

// inNS runs f in a network namespace; sockets that it makes stay there.
func inNS[T any](ns *os.File, f func() (T, error)) (T, error) {
	return onThread(func() (T, error) {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			var none T
			return none, err
		}
		return f()
	})
}

// needWorld skips a test where its namespaces cannot be made.
func needWorld(t testing.TB) {
	t.Helper()
	if egressBinary == "" {
		t.Skip("network namespaces need root: run the tests as root to try the network for real")
	}
}
