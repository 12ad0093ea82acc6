package fleet_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/fleet"
	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/volume"
)

// fakeStore holds sessions of one user in memory: in a synctest bubble there is
// no room for a database.
type fakeStore struct {
	fleet.Store
	mu       sync.Mutex
	sessions []station.Session
	until    map[station.ID]time.Time // their leases
	full     bool                     // nothing can be changed
	away     bool                     // leases cannot be reached
	renewed  func()                   // called when the database renewed leases, before the server knows
	disabled bool                     // the user
	activity string                   // what an honest guest says of itself
}

func (f *fakeStore) User(context.Context, station.ID) (station.User, error) {
	return station.User{Name: "ann", Disabled: f.disabled}, nil
}

func (f *fakeStore) Workstation(context.Context, station.ID) (station.Workstation, error) {
	return station.Workstation{ID: "homehomehome"}, nil
}

func (f *fakeStore) AllSessions(context.Context) ([]station.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sessions), nil
}

func (f *fakeStore) Sessions(ctx context.Context, _ station.ID) ([]station.Session, error) {
	return f.AllSessions(ctx)
}

func (f *fakeStore) find(id string) *station.Session {
	for i := range f.sessions {
		if string(f.sessions[i].ID) == id || f.sessions[i].Name == id {
			return &f.sessions[i]
		}
	}
	return nil
}

func (f *fakeStore) Session(_ context.Context, id station.ID) (station.Session, error) {
	return f.SessionByRef(context.Background(), "", string(id))
}

func (f *fakeStore) SessionByRef(_ context.Context, _ station.ID, ref string) (station.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.find(ref); s != nil {
		return *s, nil
	}
	return station.Session{}, station.ErrNotFound
}

func (f *fakeStore) CreateSession(_ context.Context, s station.Session, lease time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions = append(f.sessions, s)
	f.lease(s.ID, s.Holder, lease)
	return nil
}

// lease notes one; the caller holds f.mu.
func (f *fakeStore) lease(id, holder station.ID, until time.Time) {
	if f.until == nil {
		f.until = map[station.ID]time.Time{}
	}
	f.find(string(id)).Holder, f.until[id] = holder, until
}

func (f *fakeStore) TakeLease(_ context.Context, id, holder station.ID, now, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.find(string(id))
	switch {
	case s == nil:
		return station.ErrNotFound
	case f.away:
		return station.ErrUnavailable
	case s.Holder != "" && s.Holder != holder && now.Before(f.until[id]):
		return station.Errorf(station.ErrConflict, "other_server", "Another server's.")
	}
	f.lease(id, holder, until)
	return nil
}

func (f *fakeStore) RenewLeases(_ context.Context, holder station.ID, until time.Time) (ids []station.ID, err error) {
	f.mu.Lock()
	if f.away {
		f.mu.Unlock()
		return nil, station.ErrUnavailable
	}
	for _, s := range f.sessions {
		if s.Holder == holder {
			f.until[s.ID] = until
			ids = append(ids, s.ID)
		}
	}
	then := f.renewed
	f.mu.Unlock()
	if then != nil {
		then()
	}
	return ids, nil
}

func (f *fakeStore) DropLease(_ context.Context, id, holder station.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.find(string(id)); s != nil && s.Holder == holder {
		s.Holder = ""
	}
	return nil
}

// change does something to a session's record.
func (f *fakeStore) change(id station.ID, do func(*station.Session)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.find(string(id))
	switch {
	case f.full:
		return station.ErrNoSpace
	case s == nil:
		return station.ErrNotFound
	}
	do(s)
	return nil
}

func (f *fakeStore) RenameSession(_ context.Context, id station.ID, name string) error {
	return f.change(id, func(s *station.Session) { s.Name = name })
}

func (f *fakeStore) SetKeepAwake(_ context.Context, id station.ID, until time.Time) error {
	return f.change(id, func(s *station.Session) { s.KeepAwakeUntil = until })
}

func (f *fakeStore) SetNotice(_ context.Context, id station.ID, n station.Notice) error {
	return f.change(id, func(s *station.Session) { s.Notice = n })
}

func (f *fakeStore) UpdateSession(_ context.Context, s station.Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return station.ErrNoSpace
	}
	old := f.find(string(s.ID))
	switch {
	case old == nil:
		return station.ErrNotFound
	case old.Holder != s.Holder:
		return station.Errorf(station.ErrConflict, "other_server", "Another server's.")
	}
	old.State, old.Reason, old.Frozen, old.SleptAt, old.ActiveAt = s.State, s.Reason, s.Frozen, s.SleptAt, s.ActiveAt
	return nil
}

func (f *fakeStore) DeleteSession(_ context.Context, id station.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions = slices.DeleteFunc(f.sessions, func(s station.Session) bool { return s.ID == id })
	return nil
}

// fakeRuntime has sandboxes whose guest is a function.
type fakeRuntime struct {
	serve func(conn net.Conn)
	stops atomic.Int32
	work  sync.WaitGroup

	starts, freezes atomic.Int32

	mu        sync.Mutex
	live      map[station.ID]bool
	frozen    map[station.ID]bool
	canFreeze bool
	onFreeze  func()     // called after each
	pid       int        // said of whose network is attached
	stuck     station.ID // cannot be stopped
}

func (f *fakeRuntime) Start(ctx context.Context, s sandbox.Spec) error {
	f.starts.Add(1)
	f.set(s.Session, true)
	if s.Attach != nil {
		return s.Attach(ctx, sandbox.NetNS{Path: "/proc/77/ns/net", PID: f.pid})
	}
	return nil
}

func (f *fakeRuntime) set(id station.ID, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		f.live = map[station.ID]bool{}
	}
	f.live[id] = running
	delete(f.frozen, id)
}

func (f *fakeRuntime) Stop(_ context.Context, id station.ID) error {
	f.stops.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == f.stuck {
		return errors.New("it does not end")
	}
	delete(f.live, id)
	delete(f.frozen, id)
	return nil
}

func (f *fakeRuntime) List(context.Context) ([]sandbox.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []sandbox.Info
	for id, running := range f.live {
		out = append(out, sandbox.Info{Session: id, Running: running, Frozen: f.frozen[id]})
	}
	return out, nil
}

func (f *fakeRuntime) Find(_ context.Context, id station.ID) (sandbox.Info, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	running, there := f.live[id]
	return sandbox.Info{Session: id, Running: running, Frozen: f.frozen[id]}, there, nil
}

func (f *fakeRuntime) Dial(_ context.Context, id station.ID) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live[id] {
		return nil, station.Errorf(station.ErrUnavailable, "no_guest", "none")
	}
	ours, theirs := net.Pipe()
	f.work.Go(func() { defer theirs.Close(); f.serve(theirs) })
	return ours, nil
}

func (f *fakeRuntime) Describe(station.Class) string { return "none" }

func (f *fakeRuntime) Freeze(_ context.Context, id station.ID) error {
	f.mu.Lock()
	can, then := f.canFreeze, f.onFreeze
	if can {
		f.freezes.Add(1)
		f.frozen[id] = true
	}
	f.mu.Unlock()
	switch {
	case !can:
		return sandbox.ErrNoFreeze
	case then != nil:
		then()
	}
	return nil
}

func (f *fakeRuntime) Thaw(_ context.Context, id station.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.frozen, id)
	return nil
}

// state is "gone", "frozen" or "running".
func (f *fakeRuntime) state(id station.ID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.live[id]:
		return "gone"
	case f.frozen[id]:
		return "frozen"
	}
	return "running"
}

func (f *fakeRuntime) Usage(context.Context, station.ID) (sandbox.Usage, error) {
	return sandbox.Usage{}, nil
}

// answer makes a guest of what it writes once it was asked.
func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

func newFake(t *testing.T, serve func(net.Conn)) (*fleet.Fleet, *fakeStore, *fakeRuntime) {
	t.Helper()
	st, rt := &fakeStore{}, &fakeRuntime{serve: serve, frozen: map[station.ID]bool{}}
	return newFleetOver(t, st, rt, fleet.Options{}), st, rt
}

// newFleetOver is a server over a store and a runtime that others may share.
func newFleetOver(t *testing.T, st *fakeStore, rt *fakeRuntime, o fleet.Options) *fleet.Fleet {
	t.Helper()
	vol, err := volume.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vol.Close() })
	signer, err := guestapi.NewSigner(guestapi.NewSeed())
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.Runtime, o.Volumes, o.Signer, o.GuestPath = st, rt, vol, signer, "/guest"
	o.Data, o.Log = t.TempDir(), slog.New(slog.DiscardHandler)
	f, err := fleet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// honest is a guest that says it is whichever session is asked for.
func honest(st *fakeStore) func(net.Conn) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+guestapi.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		st.mu.Lock()
		defer st.mu.Unlock()
		_, _ = io.WriteString(w, `{"session":"`+string(st.sessions[0].ID)+`"}`)
	})
	mux.HandleFunc("GET "+guestapi.PathTabs, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })
	mux.HandleFunc("GET "+guestapi.PathActivity, func(w http.ResponseWriter, _ *http.Request) {
		st.mu.Lock()
		defer st.mu.Unlock()
		_, _ = io.WriteString(w, cmp.Or(st.activity, "{}"))
	})
	mux.HandleFunc(guestapi.PathPark, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"tabs":[]}`) })
	mux.HandleFunc("POST "+guestapi.PathShutdown, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return func(c net.Conn) {
		l := &oneConn{conn: c, done: make(chan struct{})}
		_ = (&http.Server{Handler: mux, ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(l.done)
			}
		}}).Serve(l)
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn  net.Conn
	taken atomic.Bool
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.taken.CompareAndSwap(false, true) {
		return l.conn, nil
	}
	<-l.done
	return nil, io.EOF
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
