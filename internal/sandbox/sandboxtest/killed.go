package sandboxtest

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
)

// killedStarts is how many starts are cut off; soak tests say how many kills they
// want.
func killedStarts() int {
	if n, err := strconv.Atoi(os.Getenv("STAITHE_SOAK_KILLS")); err == nil {
		return n
	}
	return 12
}

// KilledStarts kills gateways at random moments of a start. The engine or
// service that was at work may go on for a while. The next gateway ends the
// session, takes it over or starts it, at once; when all is quiet, what it lists
// is all there is, and that can be removed to the last trace. childTest names
// the test that calls Child.
func KilledStarts(t *testing.T, open Open, able Abilities, childTest string) {
	data, home := t.TempDir(), Home(t, 1)
	start(t, open(t, data), Spec(t, home, 1)) // its base is made
	mounts := hostMounts(t)
	spec := func() sandbox.Spec {
		s := Spec(t, home, 1)
		s.Limits.Inotify = 40
		return s
	}
	b, whole := killedStart(t, childTest, data, spec(), open, time.Minute)
	b.ended(t, data, able)
	t.Logf("a whole start takes %v", whole)
	var cut, lived int
	rounds := killedStarts()
	for round := range rounds {
		b, took := killedStart(t, childTest, data, spec(), open, rand.N(whole))
		if took == 0 {
			cut++
		}
		switch round % 3 {
		case 0: // ended at once
		case 1:
			if b.takenOver(t, able) {
				lived++
			}
		case 2:
			b.startedAgain(t, able)
			if err := b.health(); err != nil {
				t.Errorf("started again: %v", err)
			}
		}
		b.ended(t, data, able)
	}
	t.Logf("%d of %d starts were cut off, %d sandboxes were taken over", cut, rounds, lived)
	if now := hostMounts(t); !slices.Equal(now, mounts) {
		t.Errorf("mounts changed:\n%v\n%v", mounts, now)
	}
}

// killedStart kills one gateway after a time, or when it has started the
// sandbox, and returns how long that took; 0 when it was killed before. The
// sandbox is as the next gateway has it.
func killedStart(t *testing.T, childTest, data string, spec sandbox.Spec, open Open, after time.Duration) (b *box, took time.Duration) {
	t.Helper()
	stdin, lines, kill := waitingChild(t, childTest, childOrder{Data: data, Spec: spec, Wait: true})
	begin := time.Now()
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-lines:
		if line != "started" {
			t.Fatalf("the gateway said %q", line)
		}
		took = time.Since(begin)
	case <-time.After(after):
	}
	kill()
	until(t, "the killed gateway's lock is free", func() bool {
		lock, err := lockData(data)
		if err == nil {
			lock.Close()
		}
		return err == nil
	})
	return reach(open(t, data), spec), took
}

// lockData locks a data directory as a server does. What a killed one was about to
// start holds the lock up to the moment in which it becomes another program.
func lockData(data string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// startedAgain starts a sandbox whose start was cut off.
func (b *box) startedAgain(t *testing.T, able Abilities) {
	t.Helper()
	b.soon(t, able, "start", func() error { return b.rt.Start(t.Context(), b.Spec) })
}

// stopped ends a sandbox whose start was cut off.
func (b *box) stopped(t *testing.T, able Abilities) {
	t.Helper()
	b.soon(t, able, "stop", func() error { return b.rt.Stop(t.Context(), b.Session) })
}

// soon does what must succeed at once, or where a service is at work still, soon.
func (b *box) soon(t *testing.T, able Abilities, what string, do func() error) {
	t.Helper()
	until(t, what, func() bool {
		err := do()
		if err != nil && able.LateService == "" {
			t.Fatalf("%s after a start that was cut off: %v", what, err)
		}
		if err != nil {
			t.Logf("%s: %v (%s)", what, err, able.LateService)
		}
		return err == nil
	})
}

// takenOver looks for a sandbox as a gateway does that comes back. One that runs
// has all its limits, and is not made anew.
func (b *box) takenOver(t *testing.T, able Abilities) bool {
	t.Helper()
	info, there, err := b.rt.Find(t.Context(), b.Session)
	if err != nil {
		t.Fatal(err)
	}
	if !there || !info.Running {
		return false
	}
	until(t, "its guest answers", func() bool { return b.health() == nil })
	if able.NoInotify == "" {
		if n := b.count(t, false, "watches"); n != 40 {
			t.Errorf("%d inotify watches, not 40", n)
		}
	}
	if err := b.rt.Start(t.Context(), b.Spec); err != nil || able.NoPID == "" && b.pid(t) != info.PID {
		t.Errorf("start of a running one: %v, guest %d was %d", err, b.pid(t), info.PID)
	}
	return true
}

// ended ends a sandbox, waits until nobody works on it, and wants no trace.
func (b *box) ended(t *testing.T, data string, able Abilities) {
	t.Helper()
	b.stopped(t, able)
	until(t, "nobody is at work on the session", func() bool {
		for _, info := range list(t, b.rt) { // as a server does every now and then
			if info.Session == b.Session {
				t.Logf("found later: %+v", info)
				b.stopped(t, able)
			}
		}
		left, err := filepath.Glob(filepath.Join(data, "*", string(b.Session)))
		return err == nil && len(left) == 0 && len(processesOf(t, b.Session)) == 0
	})
	Traceless(t, data, b.Session)
}

// waitingChild starts a gateway that waits for a word. lines is what it says
// after it was ready.
func waitingChild(t *testing.T, childTest string, order childOrder) (io.Writer, <-chan string, func()) {
	t.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+childTest+"$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			lines <- in.Text()
		}
	}()
	kill := func() {
		_ = cmd.Process.Kill()
		for range lines { // to the end, or Wait would cut it off
		}
		_ = cmd.Wait() // killed, as meant
	}
	if line := <-lines; line != "ready" {
		kill()
		t.Fatalf("the gateway said %q", line)
	}
	return stdin, lines, kill
}
