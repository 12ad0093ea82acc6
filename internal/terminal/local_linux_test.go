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

// The end of the process and a busy reader meet: what was written before is
// read all the same.
func TestEndOfProcessCutsNoOutput(t *testing.T) {
	for i := range 1500 {
		r, w, err := os.Pipe() // its deadlines are a PTY's
		if err != nil {
			t.Fatal(err)
		}
		const size = 400
		w.Write(make([]byte, size))
		w.Close()
		p := &local{f: r, ended: make(chan struct{})}
		go p.await(func() Exit { return Exit{} })
		got := 0
		for b := make([]byte, 1); ; {
			n, err := p.Read(b)
			got += n
			if err != nil {
				if err != io.EOF {
					t.Fatal(err)
				}
				break
			}
		}
		r.Close()
		if got != size {
			t.Fatalf("round %d: %d of %d bytes", i, got, size)
		}
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
