package wayout

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"staithe/internal/egress"
)

// refusals is the bounded log of what was refused. It is safe for concurrent
// use.
type refusals struct {
	mu   sync.Mutex
	seen map[refusalKey]*egress.Refusal
}

type refusalKey struct {
	name, network string
	addr          netip.Addr
	port          uint16
}

// maxText bounds a name and a sentence in the log.
const maxText = 300

// add counts a refusal. A name is hostile text: what is not printable goes.
func (r *refusals) add(network, name string, addr netip.Addr, port uint16, why string) {
	k := refusalKey{printable(name), network, addr, port}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[refusalKey]*egress.Refusal{}
	}
	e := r.seen[k]
	if e == nil {
		if len(r.seen) >= egress.MaxRefusals {
			r.dropOldest()
		}
		e = &egress.Refusal{Name: k.name, Port: int(port), Network: network}
		if addr.IsValid() {
			e.Address = addr.String()
		}
		r.seen[k] = e
	}
	e.Why, e.Last = printable(why), time.Now()
	e.Count++
}

func (r *refusals) dropOldest() {
	var oldest refusalKey
	var when time.Time
	for k, e := range r.seen {
		if when.IsZero() || e.Last.Before(when) {
			oldest, when = k, e.Last
		}
	}
	delete(r.seen, oldest)
}

// list is a copy, newest first.
func (r *refusals) list() []egress.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]egress.Refusal, 0, len(r.seen))
	for _, e := range r.seen {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b egress.Refusal) int { return b.Last.Compare(a.Last) })
	return out
}

func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, s)
}
