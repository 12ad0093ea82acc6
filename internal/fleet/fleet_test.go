package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"staithe/internal/fleet"
	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/oci"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/volume"
)

// guestBinary is the real guest, built once for all tests.
var guestBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	guestBinary = filepath.Join(dir, "staithe-guest")
	build := exec.Command("go", "build", "-o", guestBinary, "staithe/cmd/staithe-guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the guest: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// counting counts starts of a runtime and how often usage was asked for, and can
// be as one whose daemon is down.
type counting struct {
	sandbox.Runtime
	starts, looks atomic.Int32
	down          atomic.Bool
}

func (c *counting) Usage(ctx context.Context, id station.ID) (sandbox.Usage, error) {
	c.looks.Add(1)
	return c.Runtime.Usage(ctx, id)
}

func (c *counting) List(ctx context.Context) ([]sandbox.Info, error) {
	if c.down.Load() {
		return nil, sandbox.ErrUnknown
	}
	return c.Runtime.List(ctx)
}

func (c *counting) Find(ctx context.Context, id station.ID) (sandbox.Info, bool, error) {
	if c.down.Load() {
		return sandbox.Info{}, false, sandbox.ErrUnknown
	}
	return c.Runtime.Find(ctx, id)
}

func (c *counting) Start(ctx context.Context, spec sandbox.Spec) error {
	c.starts.Add(1)
	return c.Runtime.Start(ctx, spec)
}

// world is one life of a gateway over a data directory.
type world struct {
	*fleet.Fleet
	store   *store.Store
	runtime *counting
	close   func()

	mu    sync.Mutex
	ended []string
}

func (w *world) endings() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.ended, " ")
}

type setup struct {
	data  string
	seed  []byte
	guest string

	instance station.ID
	classes  []station.Class
}

func newSetup(t *testing.T) setup {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("real sandboxes are tested as root")
	}
	s := setup{data: t.TempDir(), seed: guestapi.NewSeed(), guest: guestBinary, instance: station.NewID()}
	t.Cleanup(func() { s.stopAll(t) })
	return s
}

// stopAll removes what a test left running.
func (s setup) stopAll(t *testing.T) {
	rt, err := oci.New(oci.Options{Data: s.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Error(err)
		return
	}
	defer rt.Close()
	list, err := rt.List(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, info := range list {
		if err := rt.Stop(context.Background(), info.Session); err != nil {
			t.Error(err)
		}
	}
}

// start begins a life. Its close is what a killed gateway's end is: nothing is
// told to anyone.
func (s setup) start(t *testing.T) *world {
	t.Helper()
	db, err := store.Open(t.Context(), s.data)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := oci.New(oci.Options{Data: s.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	vol, err := volume.Open(s.data)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := guestapi.NewSigner(s.seed)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: db, runtime: &counting{Runtime: rt}}
	w.Fleet, err = fleet.New(fleet.Options{Store: db, Runtime: w.runtime, Volumes: vol, Signer: signer, GuestPath: s.guest, Data: s.data, Instance: s.instance,
		Log: slog.New(slog.DiscardHandler), Classes: s.classes})
	if err != nil {
		t.Fatal(err)
	}
	w.OnEnd(func(id station.ID, deleted bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = append(w.ended, fmt.Sprintf("%s:%v", id, deleted))
	})
	w.close = sync.OnceFunc(func() { w.Close(); rt.Close(); vol.Close(); db.Close() })
	t.Cleanup(w.close)
	return w
}

func (w *world) user(t *testing.T, name string) station.ID {
	t.Helper()
	u := station.User{ID: station.NewID(), Name: name, CreatedAt: time.Now()}
	if err := w.store.CreateUser(t.Context(), u, ""); err != nil {
		t.Fatal(err)
	}
	return u.ID
}

func (w *world) create(t *testing.T, user station.ID, name string) station.Session {
	t.Helper()
	s, err := w.Create(t.Context(), user, name, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.State != station.StateRunning || s.WhyAwake == "" {
		t.Fatalf("created %+v", s)
	}
	if got, err := w.Get(t.Context(), user, name); err != nil || got != s {
		t.Fatalf("created %+v, but found %+v, %v", s, got, err)
	}
	return s
}

func (w *world) tabs(t *testing.T, s station.Session) []station.Tab {
	t.Helper()
	c, err := w.Guest(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	tabs, err := c.Tabs(t.Context(), guestapi.Identity{User: s.User, Name: "me", Role: station.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	return tabs
}

func (w *world) openTab(t *testing.T, s station.Session, command ...string) {
	t.Helper()
	c, err := w.Guest(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateTab(t.Context(), guestapi.Identity{User: s.User, Name: "me", Role: station.RoleOwner}, guestapi.TabCreate{Command: command}); err != nil {
		t.Fatal(err)
	}
}

// pid is the host pid of a session's guest; 0 when none runs.
func (w *world) pid(t *testing.T, id station.ID) int {
	t.Helper()
	list, err := w.runtime.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if info.Session == id && info.Running {
			return info.PID
		}
	}
	return 0
}

func wantState(t *testing.T, w *world, s station.Session, state station.SessionState) station.Session {
	t.Helper()
	got, err := w.Get(t.Context(), s.User, string(s.ID))
	if err != nil || got.State != state {
		t.Fatalf("session is %q (%s), want %q; %v", got.State, got.Reason, state, err)
	}
	return got
}

func wantAsleep(t *testing.T, w *world, s station.Session) {
	t.Helper()
	_, err := w.Guest(t.Context(), s.ID)
	var p *station.Problem
	if !errors.As(err, &p) || p.Code != "asleep" || !errors.Is(err, station.ErrConflict) {
		t.Fatalf("Guest of a sleeping session: %v", err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestSessionLife(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	s := w.create(t, ann, "main")
	if _, err := w.Create(t.Context(), ann, "main", ""); !errors.Is(err, station.ErrConflict) {
		t.Fatalf("a second main: %v", err)
	}
	w.openTab(t, s, "/bin/sh", "-c", "echo hello > ~/kept; exec sleep 1000")
	if n := len(w.tabs(t, s)); n != 1 {
		t.Fatalf("%d tabs", n)
	}
	pid := w.pid(t, s.ID)

	slept, err := w.Sleep(t.Context(), ann, "main", true)
	if err != nil || slept.State != station.StateAsleep || slept.Reason == "" || slept.WhyAwake != "" {
		t.Fatalf("sleep: %+v %v", slept, err)
	}
	wantAsleep(t, w, s)
	if w.pid(t, s.ID) != 0 {
		t.Fatal("the sandbox still runs")
	}
	woken, err := w.Wake(t.Context(), ann, string(s.ID))
	if err != nil || woken.State != station.StateRunning || woken.Reason != "" {
		t.Fatalf("wake: %+v %v", woken, err)
	}
	if again := w.pid(t, s.ID); again == 0 || again == pid {
		t.Fatalf("guest is %d, was %d", again, pid)
	}
	if n := len(w.tabs(t, s)); n != 1 {
		t.Fatalf("%d tabs after a wake", n)
	}
	if _, err := w.Rename(t.Context(), ann, "main", "work"); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Get(t.Context(), ann, "work"); err != nil || got.ID != s.ID {
		t.Fatalf("renamed: %+v %v", got, err)
	}
	if err := w.Delete(t.Context(), ann, "work"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Guest(t.Context(), s.ID); !errors.Is(err, station.ErrNotFound) {
		t.Fatalf("guest of a deleted session: %v", err)
	}
	if want := fmt.Sprintf("%s:false %s:true", s.ID, s.ID); w.endings() != want {
		t.Errorf("endings %q, want %q", w.endings(), want)
	}
	list, err := w.runtime.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("sandboxes left: %v %v", list, err)
	}
}

func TestOthersSessionsAreNotFound(t *testing.T) {
	w := newSetup(t).start(t)
	ann, bob := w.user(t, "ann"), w.user(t, "bob")
	s := w.create(t, ann, "main")
	for _, ref := range []string{string(s.ID), "main"} {
		_, err1 := w.Get(t.Context(), bob, ref)
		_, err2 := w.Wake(t.Context(), bob, ref)
		_, err3 := w.Sleep(t.Context(), bob, ref, false)
		_, err4 := w.Rename(t.Context(), bob, ref, "mine")
		for i, err := range []error{err1, err2, err3, err4, w.Delete(t.Context(), bob, ref)} {
			if !errors.Is(err, station.ErrNotFound) {
				t.Errorf("%s, call %d: %v", ref, i+1, err)
			}
		}
	}
	wantState(t, w, s, station.StateRunning)
}

// Many wakes at once start one sandbox.
func TestConcurrentWakesStartOne(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	s := w.create(t, ann, "main")
	if _, err := w.Sleep(t.Context(), ann, "main", true); err != nil {
		t.Fatal(err)
	}
	w.runtime.starts.Store(0)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := w.runtime.starts.Load(); n != 1 {
		t.Errorf("%d starts", n)
	}
	wantState(t, w, s, station.StateRunning)
}

// A guest that cannot run leaves no session behind.
func TestFailedCreateLeavesNothing(t *testing.T) {
	s := newSetup(t)
	s.guest = filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(s.guest, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := s.start(t)
	ann := w.user(t, "ann")
	if _, err := w.Create(t.Context(), ann, "main", ""); !errors.Is(err, station.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	list, err := w.List(t.Context(), ann)
	if err != nil || len(list) != 0 {
		t.Errorf("sessions left: %v %v", list, err)
	}
	if left, err := w.runtime.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("sandboxes left: %v %v", left, err)
	}
	if _, err := w.Create(t.Context(), ann, "main", "gold"); !errors.Is(err, station.ErrInvalid) {
		t.Errorf("unknown class: %v", err)
	}
}

func TestRemoveUser(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	w.create(t, ann, "main")
	w.create(t, ann, "other")
	for range 2 {
		if err := w.RemoveUser(t.Context(), ann); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := w.List(t.Context(), ann); err != nil || len(list) != 0 {
		t.Errorf("sessions left: %v %v", list, err)
	}
	trash, err := os.ReadDir(filepath.Join(s.data, "trash"))
	if err != nil || len(trash) != 1 {
		t.Errorf("trash: %v %v", trash, err)
	}
}
