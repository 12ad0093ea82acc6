package egress_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// warmed waits until Warm's process of a session is there, and returns its pid.
func warmed(t *testing.T, id station.ID) int {
	t.Helper()
	mark := "STAITHE_SESSION=" + string(id)
	for deadline := time.Now().Add(boxPatience); time.Now().Before(deadline); {
		environs, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range environs {
			b, err := os.ReadFile(path)
			if err != nil || !slices.Contains(strings.Split(string(b), "\x00"), mark) {
				continue // ended, or another's
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("no process was begun")
	return 0
}

func TestWarmIsWhatStartTakes(t *testing.T) { onBothPaths(t, testWarmIsWhatStartTakes) }

func testWarmIsWhatStartTakes(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b := newBox(t)
	spec := b.spec(internet)
	e.Warm(t.Context(), spec.Session)
	e.Warm(t.Context(), spec.Session)
	pid := warmed(t, spec.Session)
	if info, there, err := e.Find(t.Context(), spec.Session); err != nil || !there || info.Running {
		t.Fatalf("before its start: %+v %v %v", info, there, err)
	}
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if got := running(t, e, spec.Session).PID; got != pid {
		t.Errorf("process %d was begun, %d runs", pid, got)
	}
	e.Warm(t.Context(), spec.Session) // one that runs is left as it is
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "out\n"}); r.Got != "out\n" {
		t.Fatalf("%+v", r)
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	nothingLeft(t, e, b, spec)
}

func TestStopEndsWhatNoStartTook(t *testing.T) {
	e := newEgress(t, egress.PathUserspace)
	b := newBox(t)
	spec := b.spec(internet)
	e.Warm(t.Context(), spec.Session)
	pid := warmed(t, spec.Session)
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	nothingLeft(t, e, b, spec)

	// A start for nothing does, too.
	e.Warm(t.Context(), spec.Session)
	pid = warmed(t, spec.Session)
	spec.Policy = station.NetworkPolicy{Mode: station.NetworkNone}
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	nothingLeft(t, e, b, spec)
}

func TestStartDoesWithoutAWarmProcessThatDied(t *testing.T) {
	e := newEgress(t, egress.PathUserspace)
	b := newBox(t)
	spec := b.spec(internet)
	e.Warm(t.Context(), spec.Session)
	pid := warmed(t, spec.Session)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "out\n"}); r.Got != "out\n" {
		t.Fatalf("%+v", r)
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, b, spec)
}

// warmGatewayMain begins a way out, says so, and waits to be killed.
func warmGatewayMain() error {
	e, err := egress.New(egress.Options{Data: os.Getenv("EGRESS_TEST_DATA"), Binary: os.Getenv(binEnv)})
	if err != nil {
		return err
	}
	e.Warm(context.Background(), station.ID(os.Getenv("EGRESS_TEST_SESSION")))
	fmt.Println("warm")
	select {}
}

func TestAWarmProcessEndsWithItsGateway(t *testing.T) {
	needWorld(t)
	data := t.TempDir()
	b := newBox(t)
	spec := b.spec(internet)
	gateway := exec.Command("/proc/self/exe")
	gateway.Env = append(os.Environ(), partEnv+"="+partWarmGateway, "EGRESS_TEST_SESSION="+string(spec.Session), "EGRESS_TEST_DATA="+data, binEnv+"="+egressBinary)
	gateway.Stderr = os.Stderr
	out, err := gateway.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "warm\n" {
		t.Fatal(said, err)
	}
	pid := warmed(t, spec.Session)
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Wait(); err == nil {
		t.Fatal("the gateway ended by itself")
	}
	waitGone(t, pid)
	e := egressOver(t, data, egress.PathUserspace)
	if list, err := e.List(t.Context()); err != nil || len(list) != 1 || list[0].Running {
		t.Fatalf("%+v %v", list, err)
	}
	if err := e.Stop(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, b, spec)
}
