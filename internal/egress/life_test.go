package egress_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/egress/filter"
	"staithe/internal/station"
)

// running is the info of a way out that must run.
func running(t *testing.T, e *egress.Egress, id station.ID) egress.Info {
	t.Helper()
	info, there, err := e.Find(t.Context(), id)
	if err != nil || !there || !info.Running || info.PID <= 1 {
		t.Fatalf("%+v %v %v", info, there, err)
	}
	return info
}

// waitGone waits for a process to end.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(boxPatience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d does not end: %v", pid, err)
		}
		return
	}
}

// hostLinks are the interfaces of the host's namespace.
func hostLinks(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// gatewayMain starts a way out, says so, and waits to be killed.
func gatewayMain() error {
	var spec egress.Spec
	if err := json.Unmarshal([]byte(os.Getenv("EGRESS_TEST_SPEC")), &spec); err != nil {
		return err
	}
	e, err := egress.New(egress.Options{Data: os.Getenv("EGRESS_TEST_DATA"), Binary: os.Getenv(binEnv), ResolvConf: os.Getenv(confEnv), Path: egress.Path(os.Getenv("EGRESS_TEST_PATH"))})
	if err != nil {
		return err
	}
	if err := e.Start(context.Background(), spec); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

func TestAKilledGatewayCutsNoConnection(t *testing.T) {
	onBothPaths(t, testAKilledGatewayCutsNoConnection)
}

func testAKilledGatewayCutsNoConnection(t *testing.T, path egress.Path) {
	needWorld(t)
	data := t.TempDir()
	b := newBox(t)
	spec := b.spec(internet)
	line, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	gateway := exec.Command("/proc/self/exe")
	gateway.Env = append(os.Environ(), partEnv+"="+partGateway, "EGRESS_TEST_SPEC="+string(line), "EGRESS_TEST_DATA="+data, "EGRESS_TEST_PATH="+string(wish(path)),
		binEnv+"="+egressBinary, confEnv+"="+resolvConf)
	gateway.Stderr = os.Stderr
	out, err := gateway.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "started\n" {
		t.Fatal(said, err)
	}
	if r := b.do(order{Do: "hold", Name: "h", Addr: webAddr + ":7"}); r.Err != "" {
		t.Fatalf("%+v", r)
	}
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Wait(); err == nil {
		t.Fatal("the gateway ended by itself")
	}
	if r := b.do(order{Do: "echo", Name: "h", Send: "still there\n"}); r.Got != "still there\n" {
		t.Fatalf("%+v", r)
	}
	e := egressOver(t, data, path)
	list, err := e.List(t.Context())
	if err != nil || len(list) != 1 || !list[0].Running || list[0].Session != spec.Session {
		t.Fatalf("%+v %v", list, err)
	}
	// To start it again changes nothing.
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if r := b.do(order{Do: "echo", Name: "h", Send: "still\n"}); r.Got != "still\n" {
		t.Fatalf("%+v", r)
	}
	if again := running(t, e, spec.Session); again.PID != list[0].PID {
		t.Fatal("it was started anew")
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	waitGone(t, list[0].PID)
}

func TestAKilledProcessLeavesNothing(t *testing.T) { onBothPaths(t, testAKilledProcessLeavesNothing) }

func testAKilledProcessLeavesNothing(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	links := hostLinks(t)
	b, spec := connected(t, e, internet)
	pid := running(t, e, spec.Session).PID
	if path == egress.PathKernel {
		links += " " + filter.LinkName(spec.Session)
	}
	if got := hostLinks(t); got != links {
		t.Errorf("on the host there is something new: %s", got)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	list, err := e.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Running {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := e.Status(t.Context(), spec.Session); !errors.Is(err, station.ErrNotFound) {
		t.Fatal(err)
	}
	// It comes back into the same sandbox by Start alone.
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "again\n"}); r.Got != "again\n" {
		t.Fatalf("%+v", r)
	}
	pid = running(t, e, spec.Session).PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, b, spec)
}

// nothingLeft looks at the disk, the host's interfaces and the sandbox's.
func nothingLeft(t *testing.T, e *egress.Egress, b *box, spec egress.Spec) {
	t.Helper()
	if list, err := e.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if links := hostLinks(t); links != "lo up0" && links != "up0 lo" {
		t.Errorf("the host has %s", links)
	}
	if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); os.Geteuid() == 0 && (err != nil || len(out) > 0) {
		t.Errorf("the host's packet filter has %s %v", out, err)
	}
	// The kernel removes the sandbox's end when it comes to it.
	deadline := time.Now().Add(boxPatience)
	for b.do(order{Do: "links"}).Got != "lo" {
		if time.Now().After(deadline) {
			t.Fatal("the sandbox's interface stays")
		}
	}
}

func TestItEndsWithItsSandbox(t *testing.T) { onBothPaths(t, testItEndsWithItsSandbox) }

func testItEndsWithItsSandbox(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b, spec := connected(t, e, internet)
	pid := running(t, e, spec.Session).PID
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	if list, err := e.List(t.Context()); err != nil || len(list) != 1 || list[0].Running {
		t.Fatalf("%+v %v", list, err)
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	if list, err := e.List(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%+v %v", list, err)
	}
}

func TestANewSandboxOfTheSessionGetsANewWayOut(t *testing.T) {
	onBothPaths(t, testANewSandboxOfTheSessionGetsANewWayOut)
}

func testANewSandboxOfTheSessionGetsANewWayOut(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	_, old := connected(t, e, internet)
	pid := running(t, e, old.Session).PID
	b := newBox(t)
	spec := b.spec(internet)
	spec.Session = old.Session
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "new\n"}); r.Got != "new\n" {
		t.Fatalf("%+v", r)
	}
}

func TestStartsAtTheSameTimeMakeOne(t *testing.T) { onBothPaths(t, testStartsAtTheSameTimeMakeOne) }

func testStartsAtTheSameTimeMakeOne(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b := newBox(t)
	spec := b.spec(internet)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := e.Start(t.Context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := e.List(t.Context()); err != nil || len(list) != 1 || !list[0].Running {
		t.Fatalf("%+v %v", list, err)
	}
	for range 4 {
		all.Go(func() {
			if err := e.Stop(t.Context(), spec.Session); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	nothingLeft(t, e, b, spec)
}

func TestAFailedStartLeavesNothing(t *testing.T) { onBothPaths(t, testAFailedStartLeavesNothing) }

func testAFailedStartLeavesNothing(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b := newBox(t)
	good := b.spec(internet)
	broken := map[string]struct {
		change func(*egress.Spec)
		kind   error
	}{
		"no namespace":        {func(s *egress.Spec) { s.NetNS = "/proc/self/ns/mnt" }, station.ErrUnavailable},
		"no such path":        {func(s *egress.Spec) { s.NetNS = "/nonexistent" }, station.ErrUnavailable},
		"the sandbox is dead": {func(s *egress.Spec) { s.Until = 1 << 22 }, station.ErrUnavailable},
		"no session":          {func(s *egress.Spec) { s.Session = "../../etc" }, station.ErrInvalid},
		"no policy":           {func(s *egress.Spec) { s.Policy.Mode = "all" }, station.ErrInvalid},
		"a bad list":          {func(s *egress.Spec) { s.Policy.Allow = []string{"a b"} }, station.ErrInvalid},
	}
	for name, c := range broken {
		spec := good
		c.change(&spec)
		if err := e.Start(t.Context(), spec); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The process starts, and cannot do its work.
	other := filepath.Join(t.TempDir(), "not-egress")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho no >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	bad, err := egress.New(egress.Options{Data: t.TempDir(), Binary: other})
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Start(t.Context(), good); !errors.Is(err, station.ErrUnavailable) || !strings.Contains(err.Error(), "no") {
		t.Error(err)
	}
	if list, err := bad.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	// Who asked has gone.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Start(gone, good); err == nil {
		t.Error("started for nobody")
	}
	nothingLeft(t, e, b, good)
	// For the policy none there is nothing to start, and what ran ends.
	if err := e.Start(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	none := good
	none.Policy = station.NetworkPolicy{Mode: station.NetworkNone}
	if err := e.Start(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, b, good)
}

func TestANamespaceFromBeforeTheSandbox(t *testing.T) {
	onBothPaths(t, testANamespaceFromBeforeTheSandbox)
}

func testANamespaceFromBeforeTheSandbox(t *testing.T, path egress.Path) {
	needWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("a namespace of the host's own needs root; the test as root makes one")
	}
	e := newEgress(t, path)
	ns, err := onThread(func() (*os.File, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		return os.Open("/proc/thread-self/ns/net")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	spec := egress.Spec{Session: station.NewID(), Policy: internet, NetNS: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())}
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	got, err := inNS(ns, func() (raw, error) { return talk("tcp", order{Addr: webAddr + ":7", Send: "early\n"}) })
	if err != nil || got != "early\n" {
		t.Fatalf("%q %v", got, err)
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
}
