package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"staithe/internal/station"
)

// operationLimit bounds one operation once it has begun. It then runs to its
// end also when the person who asked has gone: half a session helps nobody.
const operationLimit = time.Minute

// maxSessions is how many one user may have: each can hold a good part of the
// host's memory.
const maxSessions = 50

const reasonAsked = "you put it to sleep"

// Create makes a session of that name and class (empty: the default) and its
// sandbox, and the user's home when there is none. When the sandbox cannot be
// made there is no session either. Errors wrap station.ErrInvalid for a bad
// name or class, station.ErrConflict for a name the user already has,
// station.ErrLimited for one session too many, and what the sandbox's start
// returns.
func (f *Fleet) Create(ctx context.Context, user station.ID, name, class string) (station.Session, error) {
	kind, err := f.choose(class)
	if err != nil {
		return station.Session{}, err
	}
	if err := station.CheckName("session", name); err != nil {
		return station.Session{}, err
	}
	now := f.stamp()
	s := station.Session{ID: station.NewID(), User: user, Name: name, Class: kind.Name, State: station.StateStarting, CreatedAt: now, ActiveAt: now, Holder: f.id}
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
			f.watchDeath(s.ID)
			f.guard.Changed()
			return made, nil
		}
		err = e
		if e := f.dismantle(ctx, s.ID); e != nil { // the record stays: Run finds both
			return station.Session{}, fmt.Errorf("%w; and its sandbox: %w", err, e)
		}
	}
	f.ended(s.ID, true)
	f.setLease(s.ID, time.Time{})
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
	until := f.stamp().Add(leaseLife)
	if err := f.store.CreateSession(ctx, s, until); err != nil {
		return err
	}
	f.setLease(s.ID, until)
	return nil
}

// List returns a user's sessions, oldest first.
func (f *Fleet) List(ctx context.Context, user station.ID) ([]station.Session, error) {
	list, err := f.store.Sessions(ctx, user)
	for i := range list {
		list[i] = f.explain(list[i])
	}
	return list, err
}

// Get returns a user's session by id or name. Another user's is
// station.ErrNotFound.
func (f *Fleet) Get(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return s, err
	}
	return f.explain(s), nil
}

// Rename gives a session another name. Inside, the host name follows at the
// next wake.
func (f *Fleet) Rename(ctx context.Context, user station.ID, ref, name string) (station.Session, error) {
	if err := station.CheckName("session", name); err != nil {
		return station.Session{}, err
	}
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return s, err
	}
	if err := f.store.RenameSession(ctx, s.ID, name); err != nil {
		return station.Session{}, err
	}
	s.Name = name
	return f.explain(s), nil
}

// Delete ends a session for good; the home stays. Programs in it are asked to
// end first. The record goes before the sandbox: when that cannot be ended now,
// Run tries again.
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
	f.setLease(s.ID, time.Time{})
	f.sayGoodbye(ctx, s, false)
	return errors.Join(f.dismantle(ctx, s.ID), f.forgetParked(s.ID))
}

// Wake makes a session run: a frozen one goes on where it was, for another a
// sandbox is started if none runs; many wakes at once start one. When it cannot
// be started, the session is failed and the error says why. Call it for a
// person's act only.
func (f *Fleet) Wake(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	if s.State == station.StateRunning && f.answers(ctx, s, adoptLimit) == nil {
		f.touch(s.ID)
		return f.explain(s), nil
	}
	if s.Frozen {
		if woken, there, err := f.thaw(ctx, s); there {
			return woken, err
		}
	}
	slept := s
	s.Frozen = false
	if s, err = f.mark(ctx, s, station.StateStarting, ""); err != nil {
		return station.Session{}, err
	}
	if err := f.boot(ctx, s); err != nil {
		return station.Session{}, f.failed(ctx, s, err)
	}
	notice := f.unpark(ctx, slept)
	return f.awake(ctx, s, notice)
}

// awake marks a session running because a person woke it. What it was told
// before is over.
func (f *Fleet) awake(ctx context.Context, s station.Session, notice station.Notice) (station.Session, error) {
	s.ActiveAt, s.Frozen, s.SleptAt = f.stamp(), false, time.Time{}
	f.touch(s.ID)
	s, err := f.mark(ctx, s, station.StateRunning, "")
	if err != nil {
		return s, err
	}
	f.watchDeath(s.ID)
	f.guard.Changed()
	if s.Notice != notice {
		s.Notice = notice
		err = f.store.SetNotice(ctx, s.ID, notice)
	}
	return f.explain(s), err
}

// failed notes that a session could not be started, and why.
func (f *Fleet) failed(ctx context.Context, s station.Session, err error) error {
	f.ended(s.ID, false)
	s.Frozen = false
	if _, e := f.mark(ctx, s, station.StateFailed, sentence(err)); e != nil {
		err = fmt.Errorf("%w; and its record: %w", err, e)
	}
	return err
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

// take finds a user's session, takes its turn and its lease and reads it again:
// it may have changed, or gone, while we waited. The error wraps
// station.ErrConflict when another server runs it.
func (f *Fleet) take(ctx context.Context, user station.ID, ref string) (context.Context, station.Session, func(), error) {
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return ctx, s, nil, err
	}
	ctx, end, err := f.begin(ctx, s.ID)
	if err != nil {
		return ctx, s, nil, err
	}
	if err = f.lease(ctx, s.ID); err == nil {
		s, err = f.store.Session(ctx, s.ID)
	}
	if err != nil {
		end()
		return ctx, s, nil, err
	}
	return ctx, s, end, nil
}

// mark stores the state of a session that this server runs. The error wraps
// station.ErrConflict when another does by now.
func (f *Fleet) mark(ctx context.Context, s station.Session, state station.SessionState, reason string) (station.Session, error) {
	s.State, s.Reason, s.Holder = state, reason, f.id
	return f.explain(s), f.store.UpdateSession(ctx, s)
}

// sentence is what a person may be told of an error.
func sentence(err error) string {
	var p *station.Problem
	if errors.As(err, &p) {
		return p.Sentence
	}
	return "the server could not start it; its log says why"
}
