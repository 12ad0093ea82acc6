package gateway

import (
	"context"
	"sync"

	"github.com/coder/websocket"

	"staithe/internal/auth"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// maxPerUser is how many WebSockets one user may have open at once, and how many
// requests about files besides.
const maxPerUser = 64

// maxStrangers is how many WebSockets may be open that nobody signed in for.
const maxStrangers = 256

// ending is why a connection ends.
type ending struct {
	code   websocket.StatusCode
	reason string
	by     party
	said   bool // in a close frame; otherwise the link was lost or cut
}

type party int

const (
	byGateway party = iota
	byClient
	byGuest
)

// live is one open WebSocket, or a request that may take long. Its handler ends it
// when ended is closed.
type live struct {
	stream  bool               // a request
	cred    station.Credential // empty: nobody signed in
	session station.ID         // empty: not about a session
	once    sync.Once
	ended   chan struct{}
	why     ending // written before ended is closed
}

// end asks the handler to close; the first reason counts. It does not block.
func (l *live) end(e ending) {
	l.once.Do(func() {
		l.why = e
		close(l.ended)
	})
}

func (l *live) kind() counted { return counted{l.cred.User, l.stream} }

// counted is what a user may have so many of.
type counted struct {
	user   station.ID
	stream bool
}

// registry knows all open WebSockets: http.Server forgets a connection once it
// is hijacked. Safe for concurrent use.
type registry struct {
	mu     sync.Mutex
	conns  map[*live]struct{}
	users  map[counted]int
	closed bool
	empty  chan struct{} // closed when closed and no connection is left
}

func newRegistry() *registry {
	return &registry{conns: map[*live]struct{}{}, users: map[counted]int{}, empty: make(chan struct{})}
}

// add takes a connection in before it is upgraded, so that nothing that is
// revoked meanwhile slips through. The error wraps ErrLimited or ErrUnavailable.
func (r *registry) add(cred station.Credential, session station.ID) (*live, error) {
	return r.take(&live{cred: cred, session: session, ended: make(chan struct{})})
}

// addStream is add for a request that may take long.
func (r *registry) addStream(cred station.Credential) (*live, error) {
	return r.take(&live{stream: true, cred: cred, ended: make(chan struct{})})
}

func (r *registry) take(l *live) (*live, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := maxPerUser
	if l.cred.User == "" {
		most = maxStrangers
	}
	switch {
	case r.closed:
		return nil, station.Errorf(station.ErrUnavailable, "going_away", "The server is stopping; connect again in a moment.")
	case r.users[l.kind()] >= most:
		return nil, station.Errorf(station.ErrLimited, "too_many_connections",
			"There are %d connections open, the most there can be; close some pages and try again.", most)
	}
	r.conns[l] = struct{}{}
	r.users[l.kind()]++
	return l, nil
}

func (r *registry) remove(l *live) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, l)
	if r.users[l.kind()]--; r.users[l.kind()] == 0 {
		delete(r.users, l.kind())
	}
	r.noteEmpty()
}

// noteEmpty is called with mu held.
func (r *registry) noteEmpty() {
	if r.closed && len(r.conns) == 0 {
		close(r.empty)
		r.conns = nil // only once: nothing is added after closed
	}
}

// count is how many WebSockets there are.
func (r *registry) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.conns {
		if !l.stream {
			n++
		}
	}
	return n
}

// credentials is every right that something is open with, each once.
func (r *registry) credentials() []station.Credential {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[station.Credential]bool{}
	var out []station.Credential
	for l := range r.conns {
		if l.cred.User != "" && !seen[l.cred] {
			seen[l.cred] = true
			out = append(out, l.cred)
		}
	}
	return out
}

// revoke ends what was opened with ended rights. A spared login's connections
// end too, but with 1001: the page comes back at once with the same cookie.
func (r *registry) revoke(v auth.Revocation) {
	r.endAll(func(l *live) (ending, bool) {
		if l.cred.ID != "" && l.cred.ID == v.Spare {
			return ending{code: wire.CloseGoingAway, reason: "the password was changed; connect again", by: byGateway}, v.Touches(l.cred)
		}
		return ending{code: wire.CloseUnauthorized, reason: "your login or token has ended; sign in again", by: byGateway}, v.Touches(l.cred)
	})
}

func (r *registry) sessionEnded(session station.ID, deleted bool) {
	why := ending{code: wire.CloseAsleep, reason: "the session went to sleep; wake it to go on", by: byGateway}
	if deleted {
		why = ending{code: wire.CloseDeleted, reason: "the session was deleted", by: byGateway}
	}
	r.endAll(func(l *live) (ending, bool) { return why, l.session == session && session != "" })
}

// shutdown takes in no more and ends everything.
func (r *registry) shutdown() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if !first {
		return
	}
	r.endAll(func(*live) (ending, bool) {
		return ending{code: wire.CloseGoingAway, reason: "the server is going away; connect again", by: byGateway}, true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns != nil {
		r.noteEmpty()
	}
}

// wait returns when the last connection is gone after shutdown.
func (r *registry) wait(ctx context.Context) error {
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *registry) endAll(which func(*live) (ending, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.conns {
		if why, yes := which(l); yes {
			l.end(why) // only closes a channel
		}
	}
}
