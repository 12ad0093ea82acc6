package watch

import (
	"hash/maphash"
	"sync"
	"time"
)

// mostCounted is up to where paths are told apart.
const mostCounted = 1 << 18

// Tally is how much changed.
type Tally struct {
	Paths    int       // how many paths changed; mostCounted: or more
	Since    time.Time // when the first of these changes was seen; zero: nothing changed
	Last     time.Time // when the last one was
	Overflow bool      // more changed than could be told: anything may have
}

// Counter counts the paths that change in a home. It costs less than a Stream and
// is never late. Safe for concurrent use.
type Counter struct {
	w       *Watcher
	h       *home
	changed chan struct{}

	mu   sync.Mutex
	seen map[uint64]bool // by hash; true: it came since
	now  Tally
}

var seed = maphash.MakeSeed()

func newCounter(w *Watcher, h *home) *Counter {
	return &Counter{w: w, h: h, changed: make(chan struct{}, 1), seen: map[uint64]bool{}}
}

// Changed holds one value when something changed after the last Take. It is never
// closed.
func (c *Counter) Changed() <-chan struct{} { return c.changed }

// Peek is what changed since the last Take.
func (c *Counter) Peek() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.now
	t.Paths = len(c.seen)
	return t
}

// Take is what changed since the last Take, and begins anew. What changes after
// it returns is in the next one.
func (c *Counter) Take() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.now
	t.Paths = len(c.seen)
	c.now, c.seen = Tally{}, map[uint64]bool{}
	select {
	case <-c.changed:
	default:
	}
	return t
}

// Close ends counting. It may be called more than once.
func (c *Counter) Close() { c.w.leave(c.h, c) }

func (c *Counter) end() {}

func (c *Counter) note(ch change) {
	now := time.Now()
	at := maphash.String(seed, string(ch.at))
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.kind == Delete && c.seen[at] {
		delete(c.seen, at) // it came and went: nothing is left to be saved
	} else if _, known := c.seen[at]; !known && len(c.seen) < mostCounted {
		c.seen[at] = ch.kind == Create // what is still there was there before
	}
	if ch.kind == Move {
		from := maphash.String(seed, string(ch.from))
		if c.seen[from] {
			delete(c.seen, from)
		}
	}
	c.touch(now)
}

func (c *Counter) overflow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Overflow = true
	c.touch(time.Now())
}

// touch is called with mu held.
func (c *Counter) touch(now time.Time) {
	if c.now.Since.IsZero() {
		c.now.Since = now
	}
	c.now.Last = now
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
