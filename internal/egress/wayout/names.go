package wayout

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// minKept and maxKept bound how long an answered address counts as a name's:
	// at least as long as a program may dawdle, at most so long that an address
	// that changed hands is soon closed. Answers' TTLs are cut to maxTTL, so
	// that programs ask again in time.
	minKept = 5 * time.Minute
	maxKept = time.Hour
	maxTTL  = 30 * time.Minute

	maxAddresses    = 4096 // addresses remembered
	maxNamesOfAddr  = 32   // names remembered of one
	forgetAtOnceMin = 256  // how many go when it is full
)

// nameMemory knows which names our DNS answered with which addresses. It is
// safe for concurrent use.
type nameMemory struct {
	mu   sync.Mutex
	addr map[netip.Addr]map[string]time.Time // until when
	now  func() time.Time                    // nil: time.Now
}

func (m *nameMemory) clock() time.Time {
	if m.now != nil {
		return m.now()
	}
	return time.Now()
}

// remember notes that name was answered with a.
func (m *nameMemory) remember(name string, a netip.Addr, ttl time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	until := now.Add(min(max(ttl, minKept), maxKept))
	if m.addr == nil {
		m.addr = map[netip.Addr]map[string]time.Time{}
	}
	names := m.addr[a]
	if names == nil {
		if len(m.addr) >= maxAddresses {
			m.makeRoom(now)
		}
		names = map[string]time.Time{}
		m.addr[a] = names
	}
	if _, known := names[name]; !known && len(names) >= maxNamesOfAddr {
		dropFirst(names)
	}
	if until.After(names[name]) {
		names[name] = until
	}
}

// makeRoom forgets what has run out, or else a part of the rest.
func (m *nameMemory) makeRoom(now time.Time) {
	for a, names := range m.addr {
		for n, until := range names {
			if now.After(until) {
				delete(names, n)
			}
		}
		if len(names) == 0 {
			delete(m.addr, a)
		}
	}
	for a := range m.addr {
		if len(m.addr) <= maxAddresses-forgetAtOnceMin {
			return
		}
		delete(m.addr, a)
	}
}

// dropFirst forgets the name that runs out first.
func dropFirst(names map[string]time.Time) {
	var first string
	var when time.Time
	for n, until := range names {
		if when.IsZero() || until.Before(when) {
			first, when = n, until
		}
	}
	delete(names, first)
}

// names are those that were lately answered with a.
func (m *nameMemory) names(a netip.Addr) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	var out []string
	for n, until := range m.addr[a] {
		if !now.After(until) {
			out = append(out, n)
		}
	}
	return out
}
