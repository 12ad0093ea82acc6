package backup

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"staithe/internal/station"
)

// How many runs of restic there are at the same time. A run of minutes or hours
// (a first snapshot, a home of huge files, a store that does not answer) leaves
// the places of the quick ones: so many homes as these stand still can never keep
// the others from theirs. The server's own database waits for no home.
const (
	quickRuns  = 3
	slowRuns   = 3
	serverRuns = 1
	scrubRuns  = 1
)

// pool is a bounded number of places. Who comes first has one first.
type pool struct {
	places  chan struct{}
	waiting atomic.Int32
}

func newPool(n int) *pool { return &pool{places: make(chan struct{}, n)} }

// enter waits for a place. The error is the context's.
func (p *pool) enter(ctx context.Context) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try takes a place if there is one now.
func (p *pool) try() bool {
	select {
	case p.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p *pool) leave() { <-p.places }

// slot is a run's place. Its methods can be called at the same time.
type slot struct {
	e *Engine

	mu    sync.Mutex
	in    *pool // nil: given back
	since time.Time
}

// slot waits for a place. A unit whose last runs were long waits among those.
func (u *unit) slot(ctx context.Context) (*slot, error) {
	p := u.e.quick
	u.mu.Lock()
	if u.long >= longRuns {
		p = u.e.slow
	}
	u.mu.Unlock()
	if u.id == serverID {
		p = u.e.own
	}
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	return &slot{e: u.e, in: p, since: time.Now()}, nil
}

// longRuns is after how many long runs in a row the next begins as one.
const longRuns = 2

// release gives the place back. It may be called more than once.
func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil {
		s.in.leave()
		s.in = nil
	}
}

// aside makes room for quick runs, if there is a place among the slow ones, and
// says whether it takes none of theirs any more.
func (s *slot) aside() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == s.e.quick {
		if !s.e.slow.try() {
			return false
		}
		s.in.leave()
		s.in, s.since = s.e.slow, time.Now()
	}
	return true
}

// crowds says whether somebody waits for a place among the quick runs, has one.
func (s *slot) crowds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in == s.e.quick && s.in.waiting.Load() > 0
}

// errTurn is why a run is broken off that others wait for. What it stored stays.
var errTurn = station.Errorf(station.ErrUnavailable, "backup_turn",
	"Several large homes are being stored, and this one takes turns with them; it goes on by itself.")

// mind sees to it that a long run does not keep others from theirs. When its turn
// has passed it is cut off.
func (s *slot) mind(ctx context.Context, cut context.CancelCauseFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.e.t.Hold / 60)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if s.passed() {
				cut(errTurn)
				return
			}
		}
	}()
	return func() { end(); <-done }
}

// passed says whether a run has had its turn, after it was moved where it belongs.
func (s *slot) passed() bool {
	s.mu.Lock()
	in, held := s.in, time.Since(s.since)
	s.mu.Unlock()
	switch {
	case in == s.e.quick && held >= s.e.t.Hold:
		return !s.aside() && in.waiting.Load() > 0
	case in == s.e.slow:
		return held >= s.e.t.Turn && in.waiting.Load() > 0
	}
	return false
}
