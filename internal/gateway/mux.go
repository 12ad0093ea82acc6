package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/auth"
	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// mux is GET /ws/sessions/{session}: it judges, reaches the guest, upgrades,
// and relays. Until the upgrade every refusal is a problem document.
func (g *Gateway) mux(w http.ResponseWriter, r *http.Request) {
	who, err := g.admitSocket(r, wire.Subprotocol)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	s, err := g.socketSession(r.Context(), who, r.PathValue("session"))
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	l, err := g.live.add(who.Credential, s.ID)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	defer g.live.remove(l)
	// Again, now that a revocation would find it: the first check may be older.
	if err := g.auth.Valid(r.Context(), who.Credential); err != nil {
		g.refuse(w, r, err)
		return
	}
	guest, err := g.dialMux(r.Context(), who, s)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	// Connected, the session stays awake, be the page shown or in the background;
	// one that sleeps has refused us above.
	defer g.fleet.Hold(s.ID, "you are connected")()
	client, err := accept(w, r, wire.Subprotocol)
	if err != nil {
		guest.CloseNow()
		g.log.Debug("upgrade failed", "request", requestOf(r.Context()).id, "err", err)
		return
	}
	(&relay{g: g, live: l, client: client, guest: guest, raw: connOf(r.Context()), user: who.User.ID}).run(r.Context())
}

// socketSession finds the session a WebSocket is for. A ticket is for one
// session alone, and says nothing about any other.
func (g *Gateway) socketSession(ctx context.Context, who socketCaller, ref string) (station.Session, error) {
	s, err := g.fleet.Get(ctx, who.User.ID, ref)
	if who.ticket != nil && (errors.Is(err, station.ErrNotFound) || err == nil && s.ID != who.ticket.Session) {
		return s, auth.ErrTicket
	}
	return s, err
}

// dialMux reaches the guest before the client is upgraded, so that a refusal
// can still be an answer that says why.
func (g *Gateway) dialMux(ctx context.Context, who socketCaller, s station.Session) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timing.dial)
	defer cancel()
	guest, err := g.guest(ctx, s)
	if err != nil {
		return nil, err
	}
	conn, err := guest.Mux(ctx, who.identity(), wire.Subprotocol)
	if err != nil {
		return nil, fromGuest(err)
	}
	if conn.Subprotocol() != wire.Subprotocol {
		conn.CloseNow()
		return nil, station.Errorf(station.ErrUnavailable, "guest_broken",
			"The session's guest speaks another protocol; put the session to sleep and wake it again.")
	}
	conn.SetReadLimit(-1) // the relay bounds messages itself
	return conn, nil
}

// identity is what the guest is told about who came.
func (c socketCaller) identity() guestapi.Identity {
	id := owner(c.User)
	if c.ticket != nil {
		id.Role, id.Tab = c.ticket.Role, c.ticket.Tab
	}
	return id
}

// gone says why a guest is not there any more: asleep, deleted, or only gone.
func (g *Gateway) gone(user, session station.ID) ending {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := g.fleet.Get(ctx, user, string(session))
	switch {
	case errors.Is(err, station.ErrNotFound):
		return ending{code: wire.CloseDeleted, reason: "the session was deleted", by: byGuest}
	case err == nil && s.State == station.StateAsleep:
		return ending{code: wire.CloseAsleep, reason: "the session went to sleep; wake it to go on", by: byGuest}
	}
	return ending{code: wire.CloseGoingAway, reason: "the session's guest is gone; connect again", by: byGuest}
}
