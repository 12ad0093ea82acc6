package fleet

import (
	"context"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// watched is what this server knows of a session beyond its record. It is
// guarded by Fleet.mu.
type watched struct {
	holds    map[*hold]struct{} // what is connected now
	activeAt time.Time          // the last sign of use
	busy     []use              // what its programs do, as seen last
	kept     string             // the last keep-awake from inside that was taken over
	silent   bool               // its guest did not answer when it was asked last
	noFreeze bool               // it cannot be frozen here
	usage    sandbox.Usage
	measured bool // usage is of this sandbox
	cancel   context.CancelFunc
}

// hold is one use of a session, in words for its person: "you are connected".
type hold struct{ what string }

// use is one thing that keeps a session awake by what goes on inside.
type use struct {
	kind   string // of what: "cpu", "disk", "network"; two looks compare it
	words  string // for its person
	slight bool   // above the floor, but what a shell takes while somebody types
	lasted bool   // the look before found it too
}

// forget drops what is of a sandbox that ended or sleeps.
func (w *watched) forget() {
	w.busy, w.silent, w.measured, w.kept = nil, false, false, ""
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

// watch returns what is known of a session; the caller holds f.mu.
func (f *Fleet) watch(id station.ID) *watched {
	w := f.watched[id]
	if w == nil {
		w = &watched{holds: map[*hold]struct{}{}, activeAt: f.stamp()}
		f.watched[id] = w
	}
	return w
}

// Hold says that somebody uses a session until release: it does not go to sleep
// by itself meanwhile, and its rule's time begins at the release. what says it
// to its person: "you are connected". Holding a session that sleeps wakes
// nothing. Release may be called more than once.
func (f *Fleet) Hold(session station.ID, what string) (release func()) {
	h := &hold{what}
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.watch(session)
	w.holds[h] = struct{}{}
	w.activeAt = f.stamp()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := w.holds[h]; ok {
			delete(w.holds, h)
			w.activeAt = f.stamp()
		}
	}
}

// touch notes that a session was used just now.
func (f *Fleet) touch(id station.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch(id).activeAt = f.stamp()
}

// activeAt is when a session was last used, as far as is known here.
func (f *Fleet) activeAt(s station.Session) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.watched[s.ID]; w != nil && w.activeAt.After(s.ActiveAt) {
		return w.activeAt
	}
	return s.ActiveAt
}

// maxKeepAwake is the longest that a session is kept awake by one wish.
const maxKeepAwake = guestapi.MaxKeepAwake

// KeepAwake keeps a session from going to sleep by itself for so long, or, with
// 0, ends that. It wakes nothing. The error wraps station.ErrInvalid for more
// than 7 days.
func (f *Fleet) KeepAwake(ctx context.Context, user station.ID, ref string, d time.Duration) (station.Session, error) {
	if d < 0 || d > maxKeepAwake {
		return station.Session{}, station.Errorf(station.ErrInvalid, "bad_duration", "A session is kept awake for at most 7 days at a time, or 0 seconds to end it.")
	}
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return s, err
	}
	if s.KeepAwakeUntil = f.until(d); d == 0 {
		f.touch(s.ID) // its rule's time begins now
	}
	if err := f.store.SetKeepAwake(ctx, s.ID, s.KeepAwakeUntil); err != nil {
		return station.Session{}, err
	}
	return f.explain(s), nil
}

// until is the end of d from now, the zero time for 0.
func (f *Fleet) until(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return f.stamp().Add(d).Truncate(time.Second)
}

// DismissNotice takes down what the session's person was told.
func (f *Fleet) DismissNotice(ctx context.Context, user station.ID, ref string) error {
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return err
	}
	return f.store.SetNotice(ctx, s.ID, station.Notice{})
}
