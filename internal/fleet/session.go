package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"staithe/internal/station"
)

// DefaultClass is the one class of sandbox there is so far.
const DefaultClass = "standard"

// operationLimit bounds one operation once it has begun. It then runs to its
// end also when the person who asked has gone: half a session helps nobody.
const operationLimit = time.Minute

// maxSessions is how many one user may have: each can hold a good part of the
// host's memory.
const maxSessions = 50

const (
	whyRunning  = "it runs until you put it to sleep"
	reasonAsked = "you put it to sleep"
)

// Create makes a session of that name and class (empty: the default) and its
// sandbox, and the user's home when there is none. When the sandbox cannot be
// made there is no session either. Errors wrap station.ErrInvalid for a bad
// name or class, station.ErrConflict for a name the user already has,
// station.ErrLimited for one session too many, and what the sandbox's start
// returns.
func (f *Fleet) Create(ctx context.Context, user station.ID, name, class string) (station.Session, error) {
	if class == "" {
		class = DefaultClass
	}
	if class != DefaultClass {
		return station.Session{}, station.Errorf(station.ErrInvalid, "bad_class", "There is no session class %+q; leave it out or take %s.", class, DefaultClass)
	}
	if err := station.CheckName("session", name); err != nil {
		return station.Session{}, err
	}
	now := f.stamp()
	s := station.Session{ID: station.NewID(), User: user, Name: name, Class: class, State: station.StateStarting, CreatedAt: now, ActiveAt: now}
	ctx, end, err := f.begin(ctx, s.ID)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	if err := f.enter(ctx, s); err != nil {
		return station.Session{}, err
	}
	err = f.boot(ctx, s)
	if err == nil {
		made, e := f.mark(ctx, s, station.StateRunning, "")
		if e == nil {
			return made, nil
		}
		err = e
		if e := f.runtime.Stop(ctx, s.ID); e != nil { // the record stays: Run finds both
			return station.Session{}, fmt.Errorf("%w; and its sandbox: %w", err, e)
		}
	}
	f.ended(s.ID, true)
	if e := f.store.DeleteSession(ctx, s.ID); e != nil && !errors.Is(e, station.ErrNotFound) {
		err = fmt.Errorf("%w; and its record: %w", err, e)
	}
	return station.Session{}, err
}

// stamp is now as the store keeps it, so that an answer and a later look agree.
func (f *Fleet) stamp() time.Time { return f.now().UTC().Truncate(time.Microsecond) }

// enter makes the home and the record, with the user held so that a removal
// cannot come in between.
func (f *Fleet) enter(ctx context.Context, s station.Session) error {
	unlock, err := f.users.Lock(ctx, s.User)
	if err != nil {
		return err
	}
	defer unlock()
	have, err := f.store.Sessions(ctx, s.User)
	if err != nil {
		return fmt.Errorf("count the user's sessions: %w", err)
	}
	if len(have) >= maxSessions {
		return station.Errorf(station.ErrLimited, "too_many_sessions", "You have %d sessions, the most there can be; delete one first.", maxSessions)
	}
	if err := f.makeHome(ctx, s.User); err != nil {
		return err
	}
	return f.store.CreateSession(ctx, s)
}

// List returns a user's sessions, oldest first.
func (f *Fleet) List(ctx context.Context, user station.ID) ([]station.Session, error) {
	list, err := f.store.Sessions(ctx, user)
	for i := range list {
		list[i] = explained(list[i])
	}
	return list, err
}

// Get returns a user's session by id or name. Another user's is
// station.ErrNotFound.
func (f *Fleet) Get(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	s, err := f.store.SessionByRef(ctx, user, ref)
	return explained(s), err
}

// Rename gives a session another name. Inside, the host name follows at the
// next wake.
func (f *Fleet) Rename(ctx context.Context, user station.ID, ref, name string) (station.Session, error) {
	if err := station.CheckName("session", name); err != nil {
		return station.Session{}, err
	}
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	s.Name = name
	if err := f.store.UpdateSession(ctx, s); err != nil {
		return station.Session{}, err
	}
	return explained(s), nil
}

// Delete ends a session for good; the home stays. The record goes first: when
// the sandbox cannot be ended now, Run tries again.
func (f *Fleet) Delete(ctx context.Context, user station.ID, ref string) error {
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return err
	}
	defer end()
	if err := f.store.DeleteSession(ctx, s.ID); err != nil {
		return err
	}
	f.ended(s.ID, true)
	return f.runtime.Stop(ctx, s.ID)
}

// Wake starts a session's sandbox if none runs; many wakes at once start one.
// When it cannot be started, the session is failed and the error says why.
func (f *Fleet) Wake(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	if s.State == station.StateRunning && f.answers(ctx, s, adoptLimit) == nil {
		return explained(s), nil
	}
	if s, err = f.mark(ctx, s, station.StateStarting, ""); err != nil {
		return station.Session{}, err
	}
	if err := f.boot(ctx, s); err != nil {
		f.ended(s.ID, false)
		if _, e := f.mark(ctx, s, station.StateFailed, sentence(err)); e != nil {
			err = fmt.Errorf("%w; and its record: %w", err, e)
		}
		return station.Session{}, err
	}
	s.ActiveAt = f.stamp()
	return f.mark(ctx, s, station.StateRunning, "")
}

// Sleep ends a session's sandbox and keeps the session.
func (f *Fleet) Sleep(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	// The record first: from here on Guest refuses, and what is connected is
	// told the reason instead of finding the line dead.
	if s, err = f.mark(ctx, s, station.StateAsleep, reasonAsked); err != nil {
		return station.Session{}, err
	}
	f.ended(s.ID, false)
	return s, f.runtime.Stop(ctx, s.ID)
}

// begin takes the session's turn and gives the operation a life of its own.
func (f *Fleet) begin(ctx context.Context, id station.ID) (context.Context, func(), error) {
	unlock, err := f.sessions.Lock(ctx, id)
	if err != nil {
		return ctx, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), operationLimit)
	return ctx, func() { cancel(); unlock() }, nil
}

// take finds a user's session, takes its turn and reads it again: it may have
// changed, or gone, while we waited.
func (f *Fleet) take(ctx context.Context, user station.ID, ref string) (context.Context, station.Session, func(), error) {
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return ctx, s, nil, err
	}
	ctx, end, err := f.begin(ctx, s.ID)
	if err != nil {
		return ctx, s, nil, err
	}
	if s, err = f.store.Session(ctx, s.ID); err != nil {
		end()
		return ctx, s, nil, err
	}
	return ctx, s, end, nil
}

// mark stores a session's state.
func (f *Fleet) mark(ctx context.Context, s station.Session, state station.SessionState, reason string) (station.Session, error) {
	s.State, s.Reason = state, reason
	return explained(s), f.store.UpdateSession(ctx, s)
}

// explained fills in what is said but not stored.
func explained(s station.Session) station.Session {
	s.WhyAwake = ""
	if s.State == station.StateRunning {
		s.WhyAwake = whyRunning
	}
	return s
}

// sentence is what a person may be told of an error.
func sentence(err error) string {
	var p *station.Problem
	if errors.As(err, &p) {
		return p.Sentence
	}
	return "the server could not start it; its log says why"
}
