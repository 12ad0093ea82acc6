package backup

import (
	"hash/maphash"
	"time"
)

// pendingMax is how many paths are told apart; beyond it changes are counted, and
// those of one file may be more than one.
const pendingMax = 100_000

// seed is of the hashes of paths, of this run of the server.
var seed = maphash.MakeSeed()

// pending is what changed and is in no verified snapshot. Of paths it has hashes:
// they may be long, and whoever has a home gives their names.
type pending struct {
	paths   map[uint64]struct{}
	more    int64
	unknown bool // there may be more
	first   time.Time
	last    time.Time
}

func (p *pending) any() bool { return p.unknown || len(p.paths) > 0 || p.more > 0 }

func (p *pending) add(now time.Time, paths []string, unknown bool) {
	if len(paths) == 0 && !unknown {
		return
	}
	if !p.any() {
		p.first = now
	}
	p.last = now
	p.unknown = p.unknown || unknown
	if p.paths == nil {
		p.paths = map[uint64]struct{}{}
	}
	for _, path := range paths {
		p.put(maphash.String(seed, path))
	}
}

func (p *pending) put(hash uint64) {
	if _, ok := p.paths[hash]; !ok && len(p.paths) >= pendingMax {
		p.more++
	} else if !ok {
		p.paths[hash] = struct{}{}
	}
}

// merge takes back what a snapshot that failed was to cover.
func (p *pending) merge(q pending) {
	if !q.any() {
		return
	}
	had, last := p.any(), p.last
	if p.paths == nil {
		p.paths = map[uint64]struct{}{}
	}
	for hash := range q.paths {
		p.put(hash)
	}
	p.unknown = p.unknown || q.unknown
	p.more += q.more
	p.first = q.first
	if p.last = q.last; had {
		p.last = last
	}
}

// count is how many of both there are; -1: not known.
func count(p, q *pending) int64 {
	if p.unknown || q.unknown {
		return -1
	}
	n := int64(len(p.paths)) + p.more + q.more
	for path := range q.paths {
		if _, ok := p.paths[path]; !ok {
			n++
		}
	}
	return n
}

// due is when a snapshot should begin for what is pending; zero: there is no need.
func (p *pending) due(t Timing) time.Time {
	if !p.any() {
		return time.Time{}
	}
	at, latest := p.last.Add(t.Quiet), p.first.Add(t.Latest)
	if latest.Before(at) {
		return latest
	}
	return at
}
