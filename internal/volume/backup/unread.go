package backup

import (
	"hash/maphash"
	"time"

	"staithe/internal/volume/restic"
)

// unread is what the last snapshot could not read: it is pending until one can, and
// tried again by itself, less and less often.
type unread struct {
	paths map[string]struct{}
	more  int64
	tries int       // snapshots that could not, one after the other
	again time.Time // when it is tried again; zero: there is nothing
}

// unreadMax is the longest time between two tries.
const unreadMax = time.Hour

// took takes in what a snapshot could not read. What was removed meanwhile is a
// change, and counts as one.
func (r *unread) took(now time.Time, sum restic.Summary, t Timing) {
	next := unread{paths: map[string]struct{}{}, more: sum.UnreadMore, tries: r.tries + 1}
	for _, f := range sum.Unread {
		if f.Gone {
			continue
		}
		next.paths[f.Path] = struct{}{}
		if _, had := r.paths[f.Path]; !had {
			next.tries = 0 // it may be so for a moment only
		}
	}
	if len(next.paths) == 0 && next.more == 0 {
		*r = unread{}
		return
	}
	next.again = now.Add(min(t.Blind<<min(next.tries, 20), unreadMax))
	*r = next
}

// besides counts what is not in others.
func (r *unread) besides(others ...*pending) int64 {
	n := r.more
next:
	for path := range r.paths {
		for _, p := range others {
			if _, ok := p.paths[maphash.String(seed, path)]; ok {
				continue next
			}
		}
		n++
	}
	return n
}
