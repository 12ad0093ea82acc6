package terminal

import (
	"bytes"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filledPipe is a local whose terminal is a pipe (its deadlines are a PTY's)
// that holds all that its process wrote.
func filledPipe(t *testing.T, size int) *local {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	raw, err := r.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return &local{f: r, raw: raw, ended: make(chan struct{})}
}

// readBytewise reads p to its end, a byte at a time.
func readBytewise(t *testing.T, p *local) (got int) {
	for b := make([]byte, 1); ; {
		n, err := p.Read(b)
		got += n
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The end of the process and a busy reader meet: what was written before is
// read all the same.
func TestEndOfProcessCutsNoOutput(t *testing.T) {
	const size = 400
	for i := range 1500 {
		p := filledPipe(t, size)
		go p.await(func() Exit { return Exit{} })
		got := readBytewise(t, p)
		p.f.Close()
		if got != size {
			t.Fatalf("round %d: %d of %d bytes", i, got, size)
		}
	}
}

// A reader that had to wait for a processor, for longer than a terminal has to
// be silent, loses nothing of what was written before.
func TestSlowReaderOfAnEndedProcessLosesNothing(t *testing.T) {
	const size = 400
	for _, waited := range []time.Duration{drainQuiet - 1, drainQuiet, time.Hour} {
		p := filledPipe(t, size)
		p.await(func() Exit { return Exit{} })
		p.quiet = waited
		if got := readBytewise(t, p); got != size {
			t.Errorf("after %v: %d of %d bytes", waited, got, size)
		}
		p.f.Close()
	}
}

// A background job that never falls silent does not hide the shell's end.
func TestExitIsSeenThoughAJobFloods(t *testing.T) {
	for _, job := range []string{"yes", "while echo x; do sleep 0.03; done"} {
		p := pull(sh(t, "trap '' HUP; ("+job+") & echo gone; exit 4"), Join{Fresh: true})
		p.until(t, "exit", func() bool { return p.exit() != nil })
		if p.exit().Code != 4 || !strings.Contains(p.got.String(), "gone") {
			t.Errorf("%s: exit %+v", job, p.exit())
		}
	}
}

// A program may let go of its terminal for a while: what it says afterwards is
// read, and it is not left waiting for a reader.
func TestTerminalOpenedAgain(t *testing.T) {
	p := pull(sh(t, `exec </dev/null >/dev/null 2>&1; sleep 0.3; seq 1 5000 >/dev/tty; exit 3`), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	if p.exit().Code != 3 || !strings.HasSuffix(p.got.String(), "5000\r\n") {
		t.Errorf("exit %+v after %d bytes", p.exit(), p.got.Len())
	}
}

// Kill reaches jobs in process groups of their own, whatever they ignore.
func TestKillEndsTheWholeSession(t *testing.T) {
	term := sh(t, `trap '' HUP TERM INT; set -m; sleep 987 & echo "job $!."; wait; wait`)
	p := pull(term, Join{Fresh: true})
	p.until(t, "the job", func() bool { return strings.Contains(p.got.String(), ".\r\n") })
	job, err := strconv.Atoi(p.got.String()[len("job "):strings.IndexByte(p.got.String(), '.')])
	if err != nil {
		t.Fatalf("%q: %v", p.got.String(), err)
	}
	term.Kill()
	p.until(t, "exit", func() bool { return p.exit() != nil })
	// Not our child, so it cannot be waited for; it is dead or a zombie at once.
	deadline := time.Now().Add(5 * time.Second)
	for alive(job) {
		if time.Now().After(deadline) {
			unix.Kill(job, unix.SIGKILL)
			t.Fatal("the job lives on")
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// A command without an environment gets an empty one, not this process's.
func TestNoEnvironmentIsInherited(t *testing.T) {
	t.Setenv("STAITHE_TEST_SECRET", "planted")
	term, err := Start(context.Background(), Local{}, Command{Argv: []string{"/usr/bin/env"}, Cols: 80, Rows: 24}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	p := pull(term, Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	if strings.Contains(p.got.String(), "planted") {
		t.Errorf("inherited: %q", p.got.String())
	}
}

// What runs in a terminal is ended before this process when memory runs out.
func TestProgramsAreEndedBeforeTheGuest(t *testing.T) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		t.Fatal(err)
	}
	want := "score " + strconv.Itoa(min(now+oomScore, 1000)) + "."
	p := pull(sh(t, "until [ \"$(cat /proc/$$/oom_score_adj)\" != "+strconv.Itoa(now)+" ]; do :; done; sh -c 'echo score $(cat /proc/self/oom_score_adj).'"), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	if !strings.Contains(p.got.String(), want) {
		t.Errorf("%q, want %q", p.got.String(), want)
	}
}
