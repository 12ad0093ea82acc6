package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// class is the tests' own kind of session.
func class(change func(*station.Class)) []station.Class {
	c := station.Class{Name: "standard", Base: station.BaseHost, Network: station.NetworkPolicy{Mode: station.NetworkNone}}
	change(&c)
	return []station.Class{c}
}

// until waits for something to become so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it never came: %s", what)
		}
	}
}

// run keeps a world's sessions until the test's end.
func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// mux connects to a session's guest as its owner.
func (w *world) mux(t *testing.T, s station.Session) *muxclient.Client {
	t.Helper()
	guest, err := w.Guest(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := muxclient.New(muxclient.Options{FirstWait: time.Millisecond, Dial: func(ctx context.Context) (*websocket.Conn, error) {
		return guest.Mux(ctx, guestapi.Identity{User: s.User, Name: "me", Role: station.RoleOwner}, wire.Subprotocol)
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func (w *world) attach(t *testing.T, s station.Session, tab string) (*muxclient.Stream, *muxtest.Sink) {
	t.Helper()
	sink := muxtest.New()
	st, err := w.mux(t, s).Attach(t.Context(), wire.Attach{Tab: tab, Cols: 80, Rows: 24}, sink)
	if err != nil {
		t.Fatal(err)
	}
	return st, sink
}

// box is what the runtime says of a session's sandbox.
func (w *world) box(t *testing.T, id station.ID) (sandbox.Info, bool) {
	t.Helper()
	info, there, err := w.runtime.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return info, there
}

// canFreeze skips where the machine has no freezer.
func (w *world) canFreeze(t *testing.T, id station.ID) {
	t.Helper()
	if err := w.runtime.Freeze(t.Context(), id); errors.Is(err, sandbox.ErrNoFreeze) {
		t.Skip("SKIPPED: this machine has no freezer cgroup, so that nothing can be frozen; mount the freezer controller or cgroup v2")
	}
	if err := w.runtime.Thaw(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// A session that sleeps is frozen: woken, the same shells go on, also when the
// gateway died meanwhile.
func TestSleepFreezesAndShellsGoOn(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.canFreeze(t, main.ID)
	w.openTab(t, main, "/bin/sh", "-c", "stty -echo; while read x; do echo got-$x; done")
	before, pid := w.tabs(t, main), w.pid(t, main.ID)
	for _, kill := range []bool{false, true} {
		slept, err := w.Sleep(t.Context(), ann, "main", false)
		if err != nil || slept.State != station.StateAsleep || slept.Reason == "" || slept.SleptAt.IsZero() {
			t.Fatalf("%+v %v", slept, err)
		}
		if info, _ := w.box(t, main.ID); !info.Running || !info.Frozen {
			t.Fatalf("the sandbox is %+v", info)
		}
		wantAsleep(t, w, main)
		if kill {
			w.close()
			w = s.start(t)
			if err := w.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantState(t, w, main, station.StateAsleep)
			if info, _ := w.box(t, main.ID); !info.Frozen {
				t.Fatal("a restart has woken it")
			}
		}
		woken, err := w.Wake(t.Context(), ann, "main")
		if err != nil || woken.State != station.StateRunning || !woken.SleptAt.IsZero() {
			t.Fatalf("%+v %v", woken, err)
		}
		after := w.tabs(t, main)
		if w.pid(t, main.ID) != pid || len(after) != 1 || after[0].ID != before[0].ID || after[0].Exited {
			t.Errorf("guest %d, was %d; tabs %v, were %v", w.pid(t, main.ID), pid, after, before)
		}
	}
	st, out := w.attach(t, main, string(before[0].ID))
	st.Write([]byte("on\n"))
	out.See(t, "got-on")
	if left, err := filepath.Glob(filepath.Join(s.data, "parked", "*")); err != nil || len(left) != 0 {
		t.Errorf("what the tabs showed is kept though they are there: %v %v", left, err)
	}
}

// By itself a session is frozen, then stopped. The next wake brings its tabs:
// id, name, folder, size, what they showed, and a line that says so.
func TestIdleSessionIsFrozenThenStoppedAndItsTabsComeBack(t *testing.T) {
	s := newSetup(t)
	s.classes = class(func(c *station.Class) {
		c.Idle = station.IdleRule{Freeze: 1500 * time.Millisecond, Stop: 2 * time.Second}
	})
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.canFreeze(t, main.ID)
	w.run(t)
	release := w.Hold(main.ID, "you are connected")
	c := w.mux(t, main)
	sink := muxtest.New()
	st, err := c.Open(t.Context(), wire.Open{Name: "build", Cols: 101, Rows: 33}, sink)
	if err != nil {
		t.Fatal(err)
	}
	st.Write([]byte("mkdir -p ~/deep/er && cd ~/deep/er && trap 'echo saved > ~/saved' EXIT && echo said-$((40+2))\n"))
	sink.See(t, "said-42")
	if got, err := w.Get(t.Context(), ann, "main"); err != nil || !strings.Contains(got.WhyAwake, "you are connected") {
		t.Errorf("%+v %v", got, err)
	}
	pid := w.pid(t, main.ID)
	release()
	until(t, "frozen", func() bool { info, _ := w.box(t, main.ID); return info.Frozen })
	until(t, "said to be asleep", func() bool { got, _ := w.Get(t.Context(), ann, "main"); return got.State == station.StateAsleep })
	if got := wantState(t, w, main, station.StateAsleep); !strings.HasPrefix(got.Reason, "idle for ") || got.SleptAt.IsZero() {
		t.Errorf("%+v", got)
	}
	until(t, "stopped", func() bool { _, there := w.box(t, main.ID); return !there })
	if info, err := os.Stat(filepath.Join(s.data, "parked", string(main.ID))); err != nil || info.Mode() != 0o600 {
		t.Errorf("kept: %v %v", info, err)
	}
	woken, err := w.Wake(t.Context(), ann, "main")
	if err != nil || woken.Notice != (station.Notice{}) {
		t.Fatalf("%+v %v", woken, err)
	}
	defer w.Hold(main.ID, "you are connected")()
	if again := w.pid(t, main.ID); again == 0 || again == pid {
		t.Fatalf("guest %d, was %d", again, pid)
	}
	tabs := w.tabs(t, main)
	if len(tabs) != 1 || string(tabs[0].ID) != st.Tab() || tabs[0].Name != "build" || tabs[0].Cols != 101 || tabs[0].Rows != 33 {
		t.Fatalf("%+v", tabs)
	}
	if !strings.HasSuffix(tabs[0].Cwd, "/deep/er") {
		t.Errorf("it stands in %q", tabs[0].Cwd)
	}
	st2, out := w.attach(t, main, "build")
	out.See(t, "said-42")
	out.See(t, "was stopped; the shell below is new.")
	st2.Write([]byte("cat ~/saved; pwd\n"))
	out.See(t, "/deep/er\r\n")
	if !strings.Contains(out.Text(), "saved") {
		t.Error("the shell was not asked to end")
	}
}

// A program that works keeps its session awake, and the session says which. So
// does a wish from inside.
func TestWhyAwake(t *testing.T) {
	s := newSetup(t)
	s.classes = class(func(c *station.Class) { c.Idle.Freeze = 2 * time.Second })
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.run(t)
	why := func() string { got, _ := w.Get(t.Context(), ann, "main"); return got.WhyAwake }
	release := w.Hold(main.ID, "you are connected")
	st, out := func() (*muxclient.Stream, *muxtest.Sink) {
		sink := muxtest.New()
		st, err := w.mux(t, main).Open(t.Context(), wire.Open{Cols: 80, Rows: 24}, sink)
		if err != nil {
			t.Fatal(err)
		}
		return st, sink
	}()
	st.Write([]byte("yes >/dev/null & echo pid-$!.\n"))
	out.Until(t, "a pid", func() bool {
		return strings.Contains(out.Out.String(), "pid-") && strings.Contains(out.Out.String(), ".\r\n")
	})
	release()
	until(t, "yes is named", func() bool { return strings.HasPrefix(why(), "yes (pid ") && strings.Contains(why(), " uses ") })
	looks := w.runtime.looks.Load()
	until(t, "twice its rule's time", func() bool { return w.runtime.looks.Load() > looks+25 })
	wantState(t, w, main, station.StateRunning)

	st.Write([]byte("kill %1; wait; keep-awake 2h\n"))
	out.See(t, "stays awake until")
	until(t, "the wish is taken over", func() bool { return strings.Contains(why(), "keep-awake until ") })
	until(t, "yes is at rest", func() bool { return strings.HasPrefix(why(), "keep-awake until ") })
	got := wantState(t, w, main, station.StateRunning)
	if left := time.Until(got.KeepAwakeUntil); left < 110*time.Minute || left > 2*time.Hour {
		t.Errorf("awake for %s", left)
	}
	if _, err := w.KeepAwake(t.Context(), ann, "main", 0); err != nil {
		t.Fatal(err)
	}
	until(t, "asleep", func() bool { got, _ := w.Get(t.Context(), ann, "main"); return got.State == station.StateAsleep })
}

// What the kernel ends for want of memory is said in the tabs and in the
// session's record.
func TestAbuse37_OutOfMemoryIsSaid(t *testing.T) {
	s := newSetup(t)
	s.classes = class(func(c *station.Class) { c.Limits.Memory = 96 << 20; c.Idle.Freeze = 5 * time.Second })
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	if u, err := w.runtime.Usage(t.Context(), main.ID); err != nil || u.OOMKills < 0 {
		t.Skipf("SKIPPED: this machine counts no kills for want of memory (%v); it needs the memory controller", err)
	}
	w.run(t)
	defer w.Hold(main.ID, "you are connected")()
	c := w.mux(t, main)
	sink, hog := muxtest.New(), muxtest.New()
	if _, err := c.Open(t.Context(), wire.Open{Name: "calm", Cols: 80, Rows: 24, Command: []string{"/bin/cat"}}, sink); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(t.Context(), wire.Open{Name: "hog", Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", "(x=xxxxxxxx; while :; do x=$x$x; done); echo ended-$?; cat"}}, hog); err != nil {
		t.Fatal(err)
	}
	hog.See(t, "ended-137")
	sink.See(t, "[staithe] The kernel ended ")
	got, err := w.Get(t.Context(), ann, "main")
	if err != nil || got.Notice.Code != "oom" || !strings.Contains(got.Notice.Text, "want of memory") || !strings.Contains(got.Notice.Text, "96 MiB") {
		t.Errorf("%+v %v", got, err)
	}
	t.Log(got.Notice.Text)
	if err := w.DismissNotice(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.Get(t.Context(), ann, "main"); got.Notice != (station.Notice{}) {
		t.Errorf("dismissed, but %+v", got.Notice)
	}
}

// However small the processes are that use up the memory: one of them is ended,
// never the guest that all tabs hang on.
func TestAbuse37_GuestOutlivesManySmallProcesses(t *testing.T) {
	s := newSetup(t)
	s.classes = class(func(c *station.Class) { c.Limits.Memory = 96 << 20; c.Idle.Freeze = 5 * time.Second })
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	if u, err := w.runtime.Usage(t.Context(), main.ID); err != nil || u.OOMKills < 0 {
		t.Skipf("SKIPPED: this machine counts no kills for want of memory (%v); it needs the memory controller", err)
	}
	w.run(t)
	defer w.Hold(main.ID, "you are connected")()
	guest := w.pid(t, main.ID)
	c := w.mux(t, main)
	const bomb = "i=0; while [ $i -lt 400 ]; do (x=$(head -c 300000 /dev/zero | tr '\\0' x); exec 2>/dev/null; read y < /tmp/never) & i=$((i+1)); done; wait"
	if _, err := c.Open(t.Context(), wire.Open{Name: "bomb", Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", "mkfifo /tmp/never; " + bomb}}, muxtest.New()); err != nil {
		t.Fatal(err)
	}
	// Any of them may be the one, also a tab's own.
	until(t, "the person is told", func() bool { got, _ := w.Get(t.Context(), ann, "main"); return got.Notice.Code == "oom" })
	if u, err := w.runtime.Usage(t.Context(), main.ID); err != nil || u.OOMKills < 1 {
		t.Errorf("%+v %v", u, err)
	}
	if now := w.pid(t, main.ID); now != guest {
		t.Errorf("the guest was %d and is %d", guest, now)
	}
	wantState(t, w, main, station.StateRunning)
}

// A guest that dies is noticed at once, without anybody looking.
func TestDeathIsNoticedAtOnce(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	kill(t, w.pid(t, main.ID))
	until(t, "asleep", func() bool { got, _ := w.Get(t.Context(), ann, "main"); return got.State == station.StateAsleep })
	until(t, "its rubble is gone", func() bool { _, there := w.box(t, main.ID); return !there })
}

// A session whose guest stands still, lies or whose disk is full can always be
// put to sleep and deleted.
func TestAbuse40_WedgedSessionCanBeEnded(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	stop := func(s station.Session) {
		pid := w.pid(t, s.ID)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		until(t, "all its threads stand still", func() bool { return standsStill(t, pid) })
	}
	main := w.create(t, ann, "main")
	stop(main)
	if _, err := w.Sleep(t.Context(), ann, "main", false); err != nil {
		t.Errorf("sleep: %v", err)
	}
	if _, there := w.box(t, main.ID); there {
		t.Error("a guest that stands still was left")
	}
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	// Nothing can be kept: it sleeps all the same.
	if err := errors.Join(os.RemoveAll(filepath.Join(s.data, "parked")), os.WriteFile(filepath.Join(s.data, "parked"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, stop := range []bool{false, true} {
		if _, err := w.Sleep(t.Context(), ann, "main", stop); err != nil {
			t.Errorf("sleep without room: %v", err)
		}
	}
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	stop(main)
	if err := os.Remove(filepath.Join(s.data, "parked")); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), ann, "main"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if list, err := w.runtime.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left: %v %v", list, err)
	}
}

// standsStill says whether each thread of a process was stopped by a signal.
func standsStill(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads, %v", pid, err)
	}
	for _, path := range threads {
		if b, err := os.ReadFile(path); err == nil && !strings.Contains(string(b), "\nState:\tT") {
			return false
		}
	}
	return true
}

// Parked tabs that are damaged cost the tabs, nothing else.
func TestDamagedParkedTabs(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.openTab(t, main)
	if _, err := w.Sleep(t.Context(), ann, "main", true); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.data, "parked", string(main.ID))
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(`"main"`)) {
		t.Fatalf("%s %v", b, err)
	}
	if err := os.WriteFile(path, []byte(`{"tabs":[{"tab":"../../etc","name":"`), 0o600); err != nil {
		t.Fatal(err)
	}
	woken, err := w.Wake(t.Context(), ann, "main")
	if err != nil || woken.State != station.StateRunning || woken.Notice.Code != "tabs_lost" {
		t.Errorf("%+v %v", woken, err)
	}
	if n := len(w.tabs(t, main)); n != 0 {
		t.Errorf("%d tabs", n)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is kept: %v", err)
	}
}

// A sandbox that runs though its session sleeps (a gateway died in the middle)
// is not taken for a wake.
func TestAbuse23_RecoveryWakesNothing(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	asleep, err := w.store.Session(t.Context(), main.ID)
	if err != nil {
		t.Fatal(err)
	}
	asleep.State, asleep.Reason = station.StateAsleep, "you put it to sleep"
	if err := w.store.UpdateSession(t.Context(), asleep); err != nil {
		t.Fatal(err)
	}
	w.close()
	w = s.start(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, w, main, station.StateAsleep)
	if _, there := w.box(t, main.ID); there {
		t.Error("its sandbox was left")
	}
}

// A guest that is killed while it is frozen: the next wake is a new one, with
// the tabs as they were when it was frozen.
func TestAbuse40_KilledWhileFrozen(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.canFreeze(t, main.ID)
	w.openTab(t, main)
	before, pid := w.tabs(t, main), w.pid(t, main.ID)
	if _, err := w.Sleep(t.Context(), ann, "main", false); err != nil {
		t.Fatal(err)
	}
	kill(t, pid)
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	after := w.tabs(t, main)
	if again := w.pid(t, main.ID); again == pid || len(after) != 1 || after[0].ID != before[0].ID {
		t.Errorf("guest %d, was %d; tabs %v, were %v", again, pid, after, before)
	}
}
