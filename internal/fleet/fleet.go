package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/volume"
)

// Store is what fleet needs of the database.
type Store interface {
	CreateSession(ctx context.Context, s station.Session) error // ErrConflict when the user has one of that name
	Session(ctx context.Context, id station.ID) (station.Session, error)
	// SessionByRef finds a user's session by id or name; an id wins. Another
	// user's is ErrNotFound.
	SessionByRef(ctx context.Context, user station.ID, ref string) (station.Session, error)
	Sessions(ctx context.Context, user station.ID) ([]station.Session, error) // oldest first
	AllSessions(ctx context.Context) ([]station.Session, error)
	// UpdateSession stores name, class, state, reason and activity.
	UpdateSession(ctx context.Context, s station.Session) error
	DeleteSession(ctx context.Context, id station.ID) error
	Workstation(ctx context.Context, user station.ID) (station.Workstation, error)
	User(ctx context.Context, id station.ID) (station.User, error)
}

// Options are the parts a fleet works with; all but Clock are required.
type Options struct {
	Store     Store
	Runtime   sandbox.Runtime
	Volumes   *volume.Volumes
	Signer    *guestapi.Signer
	GuestPath string // the staithe-guest binary on the host
	Log       *slog.Logger
	Clock     func() time.Time // nil: time.Now
}

// Fleet runs all users' sessions. Safe for concurrent use: operations on one
// session wait for each other, those on different sessions do not.
type Fleet struct {
	store   Store
	runtime sandbox.Runtime
	volumes *volume.Volumes
	signer  *guestapi.Signer
	guest   string
	log     *slog.Logger
	now     func() time.Time

	sessions sandbox.KeyLock // one operation per session
	users    sandbox.KeyLock // a user's home and set of sessions; held with a session only while that one is in no list

	mu      sync.Mutex
	clients map[station.ID]*guestapi.Client
	onEnd   []func(session station.ID, deleted bool)
}

// New returns a fleet. Call Recover once before anything else, and Run.
func New(o Options) (*Fleet, error) {
	if o.Store == nil || o.Runtime == nil || o.Volumes == nil || o.Signer == nil || o.Log == nil || o.GuestPath == "" {
		return nil, errors.New("fleet: a required part is missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Fleet{
		store: o.Store, runtime: o.Runtime, volumes: o.Volumes, signer: o.Signer, guest: o.GuestPath, log: o.Log, now: o.Clock,
		clients: map[station.ID]*guestapi.Client{},
	}, nil
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

// ended forgets the session's client and tells everyone.
func (f *Fleet) ended(session station.ID, deleted bool) {
	f.mu.Lock()
	client := f.clients[session]
	delete(f.clients, session)
	listeners := f.onEnd
	f.mu.Unlock()
	for _, fn := range listeners {
		fn(session, deleted)
	}
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

// Close frees idle connections to guests. Sandboxes live on.
func (f *Fleet) Close() {
	f.mu.Lock()
	clients := f.clients
	f.clients = map[station.ID]*guestapi.Client{}
	f.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
}
