package watch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"staithe/internal/files"
)

const (
	// gather is how long changes are held back, so that those that belong
	// together are told as one.
	gather = 75 * time.Millisecond
	// mostPending is how many paths wait for a reader; with more it is told that
	// it lost some.
	mostPending = 16384
	// mostPaths is how many bytes these paths have at most: they may be long.
	mostPaths = 4 << 20
)

// ErrClosed is what a reader gets when the stream or its watcher was closed.
var ErrClosed = errors.New("the watch was closed")

// The changes there are.
const (
	Create = "create"
	Modify = "modify"
	Delete = "delete"
	Move   = "move"
	Attrib = "attrib"

	// still is that a path that was moved away is there all the same. It is never
	// told as such.
	still = "still"
)

// Event is what became of one path within a batch.
type Event struct {
	Path   files.Path `json:"path"`
	Change string     `json:"change" enum:"create,modify,delete,move,attrib"`
	From   files.Path `json:"from,omitempty"` // of a move
}

// Batch is what happened in one stretch of time. No path is in it twice, but as
// what something was moved from.
type Batch struct {
	Seq      uint64 // counts up by one
	Overflow bool   // more happened than could be told; Events is empty: list again
	Events   []Event
}

// pending is the net change of a path since the last batch.
type pending struct {
	change string     // Create, Modify, Delete or Attrib
	from   files.Path // Create: the path that it had at the last batch
	fresh  bool       // what is there now came since the last batch
}

// Stream is one reader's view of a home. Next is for one caller at a time.
type Stream struct {
	w     *Watcher
	h     *home
	below files.Path

	mu    sync.Mutex
	set   map[files.Path]pending
	order []files.Path // keys of set as they came; also some that are no longer in it
	bytes int          // of the keys of set
	first time.Time    // when the oldest came
	lost  bool
	seq   uint64
	wake  chan struct{} // holds one: look again

	once   sync.Once
	closed chan struct{}
}

func newStream(w *Watcher, h *home, below files.Path) *Stream {
	return &Stream{w: w, h: h, below: below, set: map[files.Path]pending{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Close ends the stream. It may be called more than once.
func (s *Stream) Close() {
	s.w.leave(s.h, s)
	s.end()
}

func (s *Stream) end() { s.once.Do(func() { close(s.closed) }) }

// Late is about how late a change may be told, as the home is only looked over every
// now and then; 0: at once, mostly. It becomes more than 0 while the home is watched
// when watches are used up: Next tells an overflow then.
func (s *Stream) Late() time.Duration {
	if s.h.poll == nil {
		return 0
	}
	return time.Duration(s.h.poll.late.Load())
}

// Next waits for changes. The error is the context's, or ErrClosed.
func (s *Stream) Next(ctx context.Context) (Batch, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		b, wait := s.take(time.Now())
		if wait == 0 {
			return b, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		case <-s.closed:
			return Batch{}, ErrClosed
		case <-s.wake:
		case <-due:
		}
	}
}

// take is the next batch; else how long it still gathers, or -1 when nothing came.
func (s *Stream) take(now time.Time) (Batch, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lost:
		s.lost = false
		s.seq++
		return Batch{Seq: s.seq, Overflow: true}, 0
	case len(s.set) == 0:
		return Batch{}, -1
	}
	if wait := gather - now.Sub(s.first); wait > 0 {
		return Batch{}, wait
	}
	s.seq++
	b := Batch{Seq: s.seq, Events: s.events()}
	s.reset()
	return b, 0
}

// events turns what is pending into events: a path that is gone and one that came
// from it are one move.
func (s *Stream) events() []Event {
	moved := map[files.Path]bool{}
	for _, p := range s.set {
		if p.change == Create && p.from != "" && s.set[p.from].change == Delete {
			moved[p.from] = true
		}
	}
	out := make([]Event, 0, len(s.set))
	for _, at := range s.order {
		p, ok := s.set[at]
		if !ok {
			continue
		}
		delete(s.set, at) // order may name it twice
		switch {
		case p.change == Delete && moved[at]:
		case p.change == Create && moved[p.from]:
			out = append(out, Event{Path: at, Change: Move, From: p.from})
		default:
			out = append(out, Event{Path: at, Change: p.change})
		}
	}
	return out
}

func (s *Stream) reset() {
	s.set, s.order, s.bytes = map[files.Path]pending{}, nil, 0
}

// hold adds a path to what is pending, drop takes one away.
func (s *Stream) hold(at files.Path, p pending) {
	s.set[at] = p
	s.order = append(s.order, at)
	s.bytes += len(at)
}

func (s *Stream) drop(at files.Path) {
	delete(s.set, at)
	s.bytes -= len(at)
}

// overflow says that changes were lost. All that is pending is covered by it.
func (s *Stream) overflow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	s.reset()
	s.awake()
}

func (s *Stream) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// note takes a change in. It never waits.
func (s *Stream) note(c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return
	}
	was := len(s.set)
	switch old, known := s.set[c.at]; {
	case c.kind == Move:
		s.noteMove(c)
	case c.kind == still && known && old.change != Delete: // as was told
	case c.kind == still && c.dir && c.at.Within(s.below): // folders were exchanged: what is pending may be of the other
		s.lost = true
		s.reset()
		s.awake()
	case c.kind == still:
		s.noteOne(change{kind: Create, at: c.at})
	default:
		s.noteOne(c)
	}
	switch {
	case len(s.set) > mostPending || s.bytes > mostPaths:
		s.lost = true
		s.reset()
		s.awake()
	case was == 0 && len(s.set) > 0:
		s.first = time.Now()
		s.awake()
	}
	if len(s.order) > 2*len(s.set)+1024 {
		s.order = slices.DeleteFunc(s.order, func(p files.Path) bool { _, ok := s.set[p]; return !ok })
	}
}

func (s *Stream) noteOne(c change) {
	if c.at.Within(s.below) {
		s.put(c.at, pending{change: c.kind, fresh: c.kind == Create})
	}
}

// noteMove takes a move in, of which one side may not be in view.
func (s *Stream) noteMove(c change) {
	from, to := c.from.Within(s.below), c.at.Within(s.below)
	switch {
	case from && to:
		old, known := s.set[c.from]
		origin := c.from
		if known && old.fresh {
			origin = old.from
		}
		s.put(c.from, pending{change: Delete})
		s.put(c.at, pending{change: Create, from: origin, fresh: true})
		if c.dir {
			s.moveBelow(c.from, c.at)
		}
	case from:
		s.put(c.from, pending{change: Delete})
	case to:
		s.put(c.at, pending{change: Create, fresh: true})
	case s.below.Within(c.from): // what is watched went away with what it is in
		s.put(s.below, pending{change: Delete})
	case s.below.Within(c.at):
		s.put(s.below, pending{change: Create, fresh: true})
	}
}

// moveBelow gives what is pending below a folder that was moved its new path, and
// puts it after the folder.
func (s *Stream) moveBelow(from, to files.Path) {
	var stay, going []files.Path
	for _, p := range s.order {
		if strings.HasPrefix(string(p), string(from)+"/") {
			going = append(going, p)
		} else {
			stay = append(stay, p)
		}
	}
	if len(going) == 0 {
		return
	}
	s.order = stay
	for _, p := range going {
		if e, ok := s.set[p]; ok {
			s.drop(p)
			at := to + p[len(from):]
			if _, known := s.set[at]; known {
				s.drop(at)
			}
			s.hold(at, e)
		}
	}
}

// put merges a change of a path with what is pending of it.
func (s *Stream) put(at files.Path, n pending) {
	old, known := s.set[at]
	if !known {
		s.hold(at, n)
		return
	}
	switch {
	case n.change == Delete && old.change == Create:
		s.drop(at) // it came and went
	case n.change == Delete:
		s.set[at] = n
	case n.change == Create && old.change == Delete:
		s.set[at] = pending{change: Modify, fresh: true, from: n.from}
	case n.change == Create && old.change == Create:
		s.set[at] = n
	case n.change == Create: // renamed over what was there
		s.set[at] = pending{change: Modify, fresh: true, from: n.from}
	case n.change == Modify && old.change == Attrib:
		s.set[at] = n
	}
}
