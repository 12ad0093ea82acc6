package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"staithe/internal/auth"
	"staithe/internal/fleet"
	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/store"
)

// testFleet keeps sessions in the store and runs a stub guest for each.
type testFleet struct {
	t       testing.TB
	store   *store.Store
	signer  *guestapi.Signer
	dir     string
	failing error // what Create answers, when set

	mu     sync.Mutex
	guests map[station.ID]*stubGuest
	onEnd  []func(station.ID, bool)
	homes  map[station.ID]bool
	holds  map[station.ID]int
}

func newTestFleet(t testing.TB, s *store.Store) *testFleet {
	signer, err := guestapi.NewSigner(guestapi.NewSeed())
	if err != nil {
		t.Fatal(err)
	}
	return &testFleet{t: t, store: s, signer: signer, dir: t.TempDir(), guests: map[station.ID]*stubGuest{}, homes: map[station.ID]bool{}, holds: map[station.ID]int{}}
}

func (f *testFleet) OnEnd(fn func(station.ID, bool)) { f.onEnd = append(f.onEnd, fn) }

func (f *testFleet) Home(_ context.Context, user station.ID) (station.Home, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.homes[user] {
		return station.Home{}, station.Errorf(station.ErrNotFound, "no_home", "There is no home yet.")
	}
	return station.Home{Bytes: 4096, Files: 1, Enforced: "none"}, nil
}

func (f *testFleet) CreateHome(_ context.Context, user station.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.homes[user] = true
	return nil
}

func (f *testFleet) RemoveUser(ctx context.Context, user station.ID) error {
	list, err := f.store.Sessions(ctx, user)
	for _, s := range list {
		err = errors.Join(err, f.Delete(ctx, user, string(s.ID)))
	}
	return err
}

func (f *testFleet) Create(ctx context.Context, user station.ID, name, class string) (station.Session, error) {
	if class != "" && class != "standard" {
		return station.Session{}, station.Errorf(station.ErrInvalid, "bad_class", "There is no such class.")
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	s := station.Session{ID: station.NewID(), User: user, Name: name, Class: "standard", State: station.StateRunning, CreatedAt: now, ActiveAt: now}
	if f.failing != nil {
		s.State, s.Reason = station.StateFailed, "no runtime"
	}
	if err := f.store.CreateSession(ctx, s, time.Time{}); err != nil {
		return station.Session{}, err
	}
	if f.failing != nil {
		return s, f.failing
	}
	f.start(s.ID)
	return s, nil
}

func (f *testFleet) start(id station.ID) *stubGuest {
	g := startGuest(f.t, filepath.Join(f.dir, string(id)+".sock"), id, f.signer)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[id] = g
	return g
}

func (f *testFleet) List(ctx context.Context, user station.ID) ([]station.Session, error) {
	return f.store.Sessions(ctx, user)
}

func (f *testFleet) Get(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	return f.store.SessionByRef(ctx, user, ref)
}

func (f *testFleet) Rename(ctx context.Context, user station.ID, ref, name string) (station.Session, error) {
	s, err := f.Get(ctx, user, ref)
	if err != nil {
		return s, err
	}
	s.Name = name
	return s, f.store.RenameSession(ctx, s.ID, name)
}

func (f *testFleet) Delete(ctx context.Context, user station.ID, ref string) error {
	s, err := f.Get(ctx, user, ref)
	if err != nil {
		return err
	}
	if err := f.store.DeleteSession(ctx, s.ID); err != nil {
		return err
	}
	f.end(s.ID, true)
	return nil
}

func (f *testFleet) end(id station.ID, deleted bool) {
	for _, fn := range f.onEnd {
		fn(id, deleted)
	}
	f.mu.Lock()
	g := f.guests[id]
	delete(f.guests, id)
	f.mu.Unlock()
	if g != nil {
		g.kill()
	}
}

func (f *testFleet) Wake(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	s, err := f.Get(ctx, user, ref)
	if err != nil || s.State == station.StateRunning {
		return s, err
	}
	f.start(s.ID)
	s.State, s.Reason = station.StateRunning, ""
	return s, f.store.UpdateSession(ctx, s)
}

func (f *testFleet) KeepAwake(ctx context.Context, user station.ID, ref string, d time.Duration) (station.Session, error) {
	s, err := f.Get(ctx, user, ref)
	if err != nil {
		return s, err
	}
	s.KeepAwakeUntil = time.Now().Add(d)
	return s, f.store.SetKeepAwake(ctx, s.ID, s.KeepAwakeUntil)
}

func (f *testFleet) DismissNotice(ctx context.Context, user station.ID, ref string) error {
	s, err := f.Get(ctx, user, ref)
	if err != nil {
		return err
	}
	return f.store.SetNotice(ctx, s.ID, station.Notice{})
}

func (f *testFleet) NetworkStatus(ctx context.Context, user station.ID, ref string) (fleet.NetworkStatus, error) {
	_, err := f.Get(ctx, user, ref)
	return fleet.NetworkStatus{Mode: station.NetworkNone}, err
}

func (f *testFleet) Hold(session station.ID, _ string) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[session]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.holds[session]--
	}
}

func (f *testFleet) Sleep(ctx context.Context, user station.ID, ref string, _ bool) (station.Session, error) {
	s, err := f.Get(ctx, user, ref)
	if err != nil {
		return s, err
	}
	s.State = station.StateAsleep
	err = f.store.UpdateSession(ctx, s)
	f.end(s.ID, false)
	return s, err
}

func (f *testFleet) Guest(_ context.Context, session station.ID) (*guestapi.Client, error) {
	f.mu.Lock()
	g := f.guests[session]
	f.mu.Unlock()
	if g == nil {
		return nil, station.Errorf(station.ErrUnavailable, "no_guest", "No guest.")
	}
	return g.client, nil
}

func (f *testFleet) guest(id station.ID) *stubGuest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.guests[id]
}

var (
	_ Fleet      = (*testFleet)(nil)
	_ auth.Store = (*store.Store)(nil)
)
