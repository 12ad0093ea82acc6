package volume

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
)

// testHost runs "sessions" that are goroutines of the test.
type testHost struct {
	mu      sync.Mutex
	writers map[station.ID]*Writer
	events  chan event
	braking func() // what a session still does until it stands still
}

type event struct {
	what    string // brake, release, notify
	session station.ID
	code    string
}

func newTestHost() *testHost {
	return &testHost{writers: map[station.ID]*Writer{}, events: make(chan event, 100)}
}

func (h *testHost) Writers(context.Context) ([]Writer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Writer
	for _, w := range h.writers {
		out = append(out, *w)
	}
	return out, nil
}

func (h *testHost) set(session station.ID, frozen bool, code string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writers[session].Frozen, h.writers[session].Braked = frozen, code
}

func (h *testHost) frozen(session station.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writers[session].Frozen
}

func (h *testHost) Brake(_ context.Context, session station.ID, n Notice) error {
	h.mu.Lock()
	braking := h.braking
	h.mu.Unlock()
	if braking != nil {
		braking()
	}
	h.set(session, true, n.Code)
	h.events <- event{"brake", session, n.Code}
	return nil
}

func (h *testHost) Release(_ context.Context, session station.ID) error {
	h.set(session, false, "")
	h.events <- event{"release", session, ""}
	return nil
}

func (h *testHost) Notify(_ context.Context, session station.ID, n Notice) error {
	h.events <- event{"notify", session, n.Code}
	return nil
}

// see waits for an event; anything else that happens meanwhile to another
// session, or another brake, fails the test.
func (h *testHost) see(t *testing.T, want event) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case e := <-h.events:
			if e == want {
				return
			}
			if e.what == "brake" {
				t.Fatalf("%+v, want %+v", e, want)
			}
		case <-deadline:
			t.Fatalf("%+v did not happen", want)
		}
	}
}

// guarded makes homes with one session each, and runs a guard over them.
func guarded(t *testing.T, data string, reserve int64, quota ...int64) (*Guard, *testHost, []Writer) {
	t.Helper()
	v, host := open(t, data), newTestHost()
	var list []Writer
	for i, q := range quota {
		w := Writer{Session: station.NewID(), Workstation: station.Workstation{ID: station.NewID(), UIDRange: i}, Written: -1}
		if err := errors.Join(v.Create(t.Context(), w.Workstation), v.SetQuota(t.Context(), w.Workstation, q)); err != nil {
			t.Fatal(err)
		}
		list = append(list, w)
		host.writers[w.Session] = &w
	}
	g, err := NewGuard(GuardOptions{Volumes: v, Host: host, Log: slog.New(slog.DiscardHandler), Reserve: reserve})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return g, host, list
}

// until waits for what a guard does between two looks.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come to be: %s", what)
		}
	}
}

// bomb writes into a home until its session is braked.
func bomb(t *testing.T, g *Guard, host *testHost, w Writer, put func(n int) error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for n := 0; !host.frozen(w.Session); n++ {
		if time.Now().After(deadline) {
			t.Fatal("nobody stopped it")
		}
		if err := put(n); err != nil && !full(err) {
			t.Fatal(err)
		}
	}
}

func smallDisk(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, a full disk: needs root to mount a small file system; run the tests as root")
	}
	data := t.TempDir()
	if err := syscall.Mount("small", data, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return data
}

// Who fills the disk, with bytes or with files, is stopped and told; nobody
// else is; there is room left for a neighbour and for the server; and with room
// again everything is as before.
func TestAbuse37_DiskBombIsStopped(t *testing.T) {
	for name, put := range map[string]func(w string, n int) error{
		"bytes": func(home string, _ int) error { _, err := fill(filepath.Join(home, "bomb"), 1<<20); return err },
		"files": func(home string, n int) error {
			_ = os.Mkdir(filepath.Join(home, "bomb"), 0o700)
			return os.WriteFile(filepath.Join(home, "bomb", string(station.NewID())), nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := smallDisk(t, "size=128m,nr_inodes=30000")
			g, host, list := guarded(t, data, -1, 0, 0)
			bomber, neighbour := list[0], list[1]
			until(t, "the ballast", func() bool { _, err := os.Stat(filepath.Join(data, "ballast", "127")); return err == nil })
			until(t, "a first look at each home", func() bool {
				for _, w := range list {
					if u := g.v.lastKnown(w.Workstation); u.At.IsZero() {
						return false
					}
				}
				return true
			})
			bomb(t, g, host, bomber, func(n int) error { return put(g.v.Path(bomber.Workstation), n) })
			host.see(t, event{"brake", bomber.Session, codeDiskFull})
			if err := g.Low(); !errors.Is(err, station.ErrNoSpace) {
				t.Errorf("low: %v", err)
			}
			until(t, "room for the neighbour", func() bool {
				return os.WriteFile(filepath.Join(g.v.Path(neighbour.Workstation), "small"), make([]byte, 64<<10), 0o600) == nil
			})
			if host.frozen(neighbour.Session) {
				t.Error("the neighbour was stopped")
			}
			if err := os.RemoveAll(filepath.Join(g.v.Path(bomber.Workstation), "bomb")); err != nil {
				t.Fatal(err)
			}
			host.see(t, event{"release", bomber.Session, ""})
			if err := g.Low(); err != nil {
				t.Errorf("with room again: %v", err)
			}
			until(t, "the ballast again", func() bool { _, err := os.Stat(filepath.Join(data, "ballast", "127")); return err == nil })
		})
	}
}

// Who fills the disk with a file that was deleted while it is open is in no
// home's measurement. The sandboxes' counters tell; a neighbour who writes little
// into the home goes on.
func TestAbuse37_DeletedFileFillsTheDisk(t *testing.T) {
	data := smallDisk(t, "size=128m")
	g, host, list := guarded(t, data, -1, 0, 0)
	bomber, neighbour := list[0], list[1]
	wrote := func(w Writer, n int64) {
		host.mu.Lock()
		defer host.mu.Unlock()
		host.writers[w.Session].Written = max(host.writers[w.Session].Written, 0) + n
	}
	wrote(bomber, 0)
	wrote(neighbour, 0)
	until(t, "a first look at each home", func() bool {
		return !g.v.lastKnown(bomber.Workstation).At.IsZero() && !g.v.lastKnown(neighbour.Workstation).At.IsZero()
	})
	hidden, err := os.Create(filepath.Join(g.v.Path(bomber.Workstation), "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	defer hidden.Close()
	if err := os.Remove(hidden.Name()); err != nil {
		t.Fatal(err)
	}
	bomb(t, g, host, bomber, func(n int) error {
		wrote(neighbour, 1<<10)
		m, err := hidden.Write(make([]byte, 128<<10))
		wrote(bomber, int64(m))
		return err
	})
	host.see(t, event{"brake", bomber.Session, codeDiskFull})
	if host.frozen(neighbour.Session) {
		t.Error("the neighbour was stopped")
	}
	if err := hidden.Truncate(0); err != nil {
		t.Fatal(err)
	}
	host.see(t, event{"release", bomber.Session, ""})
}

// A home's measured limit: told at nine tenths, braked past it, let in to clean
// up after a wake, whatever it wrote between the measuring and the brake, braked again
// when it grows, released when it fits.
func TestMeasuredQuota(t *testing.T) {
	g, host, list := guarded(t, t.TempDir(), 0, 32<<20, 0)
	w, home := list[0], g.v.Path(list[0].Workstation)
	if u, err := g.v.Usage(t.Context(), w.Workstation); err != nil || u.Enforced != EnforcedMeasured {
		t.Skipf("SKIPPED, measured limits: the kernel keeps them on this disk: %+v %v", u, err)
	}
	until(t, "a first look", func() bool { return !g.v.lastKnown(w.Workstation).At.IsZero() })
	write(t, filepath.Join(home, "much"), 30<<20)
	host.see(t, event{"notify", w.Session, codeHomeFilling})
	host.mu.Lock()
	host.braking = func() {
		if err := os.WriteFile(filepath.Join(home, "until still"), make([]byte, 8<<20), 0o600); err != nil {
			t.Error(err)
		}
	}
	host.mu.Unlock()
	bomb(t, g, host, w, func(int) error { _, err := fill(filepath.Join(home, "bomb"), 1<<20); return err })
	host.see(t, event{"brake", w.Session, codeHomeFull})

	host.set(w.Session, false, "") // its person wakes it
	write(t, filepath.Join(home, "history"), 4<<10)
	for range 2 { // what the first one means is decided when the second has come
		at := g.v.lastKnown(w.Workstation).At
		until(t, "another look", func() bool { return g.v.lastKnown(w.Workstation).At.After(at) })
	}
	if host.frozen(w.Session) {
		t.Error("it was not let in")
	}
	bomb(t, g, host, w, func(int) error { _, err := fill(filepath.Join(home, "bomb"), 1<<20); return err })
	host.see(t, event{"brake", w.Session, codeHomeFull})
	if err := errors.Join(os.Remove(filepath.Join(home, "bomb")), os.Remove(filepath.Join(home, "until still")), os.Remove(filepath.Join(home, "much"))); err != nil {
		t.Fatal(err)
	}
	host.see(t, event{"release", w.Session, ""})
	if host.frozen(list[1].Session) {
		t.Error("the neighbour was braked")
	}
}

// What a home grew by until those who write stood still is held against nobody: neither
// who is woken nor a session that is quiet. Of one of which that is not known, or that
// writes, it is: else it could grow the home for nothing.
func TestOnlyWhoIsQuietIsForgiven(t *testing.T) {
	for name, c := range map[string]struct {
		written, recent int64
		braked          bool
	}{
		"quiet": {0, 0, false}, "not known": {-1, 0, true}, "writes": {10 << 20, 10 << 20, true},
	} {
		v, host := open(t, t.TempDir()), newTestHost()
		g, err := NewGuard(GuardOptions{Volumes: v, Host: host, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		h := &watched{ws: station.Workstation{ID: station.NewID()}}
		for range 2 {
			w := Writer{Session: station.NewID(), Workstation: h.ws}
			host.writers[w.Session] = &w
			g.sessions[w.Session] = &writer{Writer: w}
			h.sessions = append(h.sessions, w.Session)
		}
		first, second := h.sessions[0], h.sessions[1]
		grow := func(by int64) {
			old := h.now
			h.now.Limit, h.now.FileLimit, h.now.Bytes, h.now.At = 32<<20, 1000, old.Bytes+by, time.Now()
			g.keep(t.Context(), h, old)
		}
		grow(31 << 20)
		g.sessions[first].recent = 10 << 20
		grow(2 << 20)
		host.see(t, event{"brake", first, codeHomeFull})
		g.sessions[second].Written, g.sessions[second].recent = c.written, c.recent
		grow(10 << 20)
		if host.frozen(second) != c.braked {
			t.Errorf("%s: the other one is braked: %v", name, host.frozen(second))
		}
		g.woken(h, g.sessions[first])
		g.sessions[first].Frozen = false
		grow(1 << 20)
		if g.sessions[first].braked != "" {
			t.Errorf("%s: it was not let in", name)
		}
		grow(3 << 20)
		if g.sessions[first].braked == "" {
			t.Errorf("%s: it is not braked again", name)
		}
	}
}
