package fleet

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/keylock"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/volume"
)

// Store is what fleet needs of the database.
type Store interface {
	// CreateSession adds a session that s.Holder runs until lease.
	// ErrConflict when the user has one of that name.
	CreateSession(ctx context.Context, s station.Session, lease time.Time) error
	Session(ctx context.Context, id station.ID) (station.Session, error)
	// SessionByRef finds a user's session by id or name; an id wins. Another
	// user's is ErrNotFound.
	SessionByRef(ctx context.Context, user station.ID, ref string) (station.Session, error)
	Sessions(ctx context.Context, user station.ID) ([]station.Session, error) // oldest first
	AllSessions(ctx context.Context) ([]station.Session, error)
	// UpdateSession stores state, reason, frozen and the times. ErrConflict when
	// another server than s.Holder runs it by now.
	UpdateSession(ctx context.Context, s station.Session) error
	RenameSession(ctx context.Context, id station.ID, name string) error
	SetKeepAwake(ctx context.Context, id station.ID, until time.Time) error
	SetNotice(ctx context.Context, id station.ID, n station.Notice) error
	DeleteSession(ctx context.Context, id station.ID) error

	// TakeLease makes holder the one that runs a session, RenewLeases says which
	// it runs, DropLease ends it. ErrConflict when another's has not run out.
	TakeLease(ctx context.Context, id, holder station.ID, now, until time.Time) error
	RenewLeases(ctx context.Context, holder station.ID, until time.Time) ([]station.ID, error)
	DropLease(ctx context.Context, id, holder station.ID) error

	Workstation(ctx context.Context, user station.ID) (station.Workstation, error)
	User(ctx context.Context, id station.ID) (station.User, error)
}

// Options are the parts a fleet works with.
type Options struct {
	Store     Store
	Runtime   sandbox.Runtime
	Volumes   *volume.Volumes
	Signer    *guestapi.Signer
	GuestPath string // the staithe-guest binary on the host
	Data      string // the data directory; what stopped sessions showed is kept in DATA/parked
	Log       *slog.Logger

	// Instance names this server in leases. One that is kept in the data
	// directory finds its sessions again at once after a crash; of one name at
	// most one server may run. Empty: a random name.
	Instance station.ID
	// Classes are the kinds of session there are. Empty: one, DefaultClass, over
	// the host's programs, without a network, that never sleeps by itself.
	Classes []station.Class
	// DefaultClass is the class of a session that names none; empty: the first.
	DefaultClass string
	Images       Images // nil: no class has an image
	// HomeMade hears that a user's home was made just now. It must not wait; nil: nobody does.
	HomeMade func(user station.ID)
	Files    Files            // nil: nothing but sessions has homes open
	Network  Network          // nil: no class has a network
	Clock    func() time.Time // nil: time.Now
	Reserve  int64            // bytes of the disk kept free for the server; 0: none, negative: volume.GuardOptions' default
}

// Fleet runs all users' sessions. Safe for concurrent use: operations on one
// session wait for each other, those on different sessions do not.
type Fleet struct {
	homeMade func(station.ID)
	store    Store
	runtime  sandbox.Runtime
	volumes  *volume.Volumes
	signer   *guestapi.Signer
	guest    string
	parked   string // folder of what stopped sessions showed
	log      *slog.Logger
	now      func() time.Time
	id       station.ID // this server's name in leases
	classes  classes
	images   Images
	network  Network
	files    Files
	guard    *volume.Guard

	sessions keylock.Locks[station.ID] // one operation per session
	users    keylock.Locks[station.ID] // a user's home and set of sessions; held with a session only while that one is in no list

	ending   context.Context // ends with Close: for what waits beside operations
	end      context.CancelFunc
	watchers sync.WaitGroup // goroutines that wait for guests' ends, or tell guests something

	mu      sync.Mutex
	clients map[station.ID]*guestapi.Client
	watched map[station.ID]*watched
	leased  map[station.ID]time.Time // until when each session is surely ours
	onEnd   []func(session station.ID, deleted bool)
}

// New returns a fleet. Call Recover once before anything else, and Run.
func New(o Options) (*Fleet, error) {
	if o.Store == nil || o.Runtime == nil || o.Volumes == nil || o.Signer == nil || o.Log == nil || o.GuestPath == "" || o.Data == "" {
		return nil, errors.New("fleet: a required part is missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Instance == "" {
		o.Instance = station.NewID()
	}
	classes, err := newClasses(o)
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		homeMade: o.HomeMade,
		store:    o.Store, runtime: o.Runtime, volumes: o.Volumes, signer: o.Signer, guest: o.GuestPath, log: o.Log, now: o.Clock,
		parked: filepath.Join(o.Data, "parked"), id: o.Instance, classes: classes, images: o.Images, network: o.Network, files: o.Files,
		clients: map[station.ID]*guestapi.Client{}, watched: map[station.ID]*watched{}, leased: map[station.ID]time.Time{},
	}
	if err := os.MkdirAll(f.parked, 0o700); err != nil {
		return nil, err
	}
	if f.guard, err = volume.NewGuard(volume.GuardOptions{
		Volumes: o.Volumes, Host: &diskHost{f: f, limits: map[station.ID]int64{}}, Log: o.Log, Reserve: o.Reserve,
	}); err != nil {
		return nil, err
	}
	f.ending, f.end = context.WithCancel(context.Background())
	return f, nil
}

// OnEnd registers f to be called when a session was put to sleep, died or was
// deleted, so that what is connected to it can be closed at once. For a sleep
// or delete that was asked for, f is called before the sandbox ends. f must not
// call back into the fleet and must be quick. Register before Run.
func (f *Fleet) OnEnd(fn func(session station.ID, deleted bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onEnd = append(f.onEnd, fn)
}

// ended forgets what is known of the session's sandbox and tells everyone.
func (f *Fleet) ended(session station.ID, deleted bool) {
	f.mu.Lock()
	client := f.clients[session]
	delete(f.clients, session)
	if w := f.watched[session]; w != nil {
		w.forget()
		if deleted || len(w.holds) == 0 {
			delete(f.watched, session)
		}
	}
	listeners := f.onEnd
	f.mu.Unlock()
	for _, fn := range listeners {
		fn(session, deleted)
	}
	if client != nil {
		client.Close()
	}
}

// remembered lists the sessions of which more is kept than their record.
func (f *Fleet) remembered() []station.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := slices.Collect(maps.Keys(f.clients))
	for id := range f.watched {
		if f.clients[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// forget drops what is kept of a session that was deleted: who looked at it while
// that happened, or ended it, may have begun anew.
func (f *Fleet) forget(id station.ID) {
	f.mu.Lock()
	client := f.clients[id]
	delete(f.clients, id)
	if w := f.watched[id]; w != nil {
		w.forget()
		delete(f.watched, id)
	}
	f.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// Guest returns the client of a running session's guest. It never wakes one:
// the error wraps station.ErrConflict with code "asleep" when it sleeps, and
// station.ErrNotFound when there is no such session. The client is shared and
// stays usable over a sleep and wake.
func (f *Fleet) Guest(ctx context.Context, session station.ID) (*guestapi.Client, error) {
	s, err := f.store.Session(ctx, session)
	if err != nil {
		return nil, err
	}
	switch s.State {
	case station.StateRunning:
		return f.client(session), nil
	case station.StateStarting:
		return nil, station.Errorf(station.ErrConflict, "starting", "The session is still starting; try again in a moment.")
	case station.StateFailed:
		return nil, station.Errorf(station.ErrConflict, "asleep", "The session could not be started (%s); wake it to try again.", s.Reason)
	}
	return nil, station.Errorf(station.ErrConflict, "asleep", "The session sleeps; wake it first.")
}

func (f *Fleet) client(session station.ID) *guestapi.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clients[session]
	if c == nil {
		c = guestapi.NewClient(session, f.signer, f.dialer(session))
		f.clients[session] = c
	}
	return c
}

// Close frees idle connections to guests and waits for what watches them.
// Sandboxes live on.
func (f *Fleet) Close() {
	f.end()
	f.watchers.Wait()
	f.mu.Lock()
	clients := f.clients
	f.clients = map[station.ID]*guestapi.Client{}
	f.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
}
