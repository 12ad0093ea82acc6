package hostproc

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a process of ours, noted.
func sleeper(t *testing.T) Process {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := Note(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// withDescriptors runs f while this process can open so many files and no more.
func withDescriptors(t *testing.T, left int, f func()) {
	t.Helper()
	next, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	left += int(next.Fd())
	next.Close()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(left), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	f()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
}

// A server that has no descriptor left cannot tell who lives. What it cannot see
// it takes for alive, and does not say that it ended it.
func TestWhatCannotBeSeenIsNotDead(t *testing.T) {
	p := sleeper(t)
	for _, left := range []int{0, 1} {
		var alive bool
		var err error
		withDescriptors(t, left, func() { alive, err = p.Alive(), p.Kill(time.Second) })
		if !alive {
			t.Errorf("with %d descriptors a living process is taken for dead", left)
		}
		if err == nil {
			t.Errorf("with %d descriptors it is said to have ended", left)
		}
	}
	if !p.Alive() {
		t.Error("it was ended")
	}
}

// A pid that another process has by now, also of another run of the kernel, is
// not the noted one: it is dead and left alone.
func TestAnotherWithItsPidIsNotTheNoted(t *testing.T) {
	p := sleeper(t)
	for what, other := range map[string]Process{
		"start": {PID: p.PID, Start: p.Start - 1, Boot: p.Boot}, "boot": {PID: p.PID, Start: p.Start, Boot: "another"},
	} {
		if err := other.Kill(time.Second); err != nil || other.Alive() {
			t.Errorf("another %s: alive %v, %v", what, other.Alive(), err)
		}
	}
	if !p.Alive() {
		t.Fatal("a process was ended that was not the noted one")
	}
	if err := p.End(time.Second, time.Second); err != nil || p.Alive() {
		t.Errorf("the noted one: alive %v, %v", p.Alive(), err)
	}
}
