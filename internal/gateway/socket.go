package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/auth"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// socketCaller is who opens a WebSocket, and how far their right goes.
type socketCaller struct {
	auth.Principal
	ticket *station.Ticket // nil: cookie or bearer
}

// admitSocket decides about a WebSocket before anything is started or spent.
// The Origin comes first: a browser sends cookies with any page's upgrade, so
// a cookie needs the own Origin beside it; a bearer or ticket is no ambient
// right and passes without one. A foreign Origin never passes.
func (g *Gateway) admitSocket(r *http.Request, subprotocol string) (socketCaller, error) {
	if err := checkUpgrade(r); err != nil {
		return socketCaller{}, err
	}
	req := requestOf(r.Context())
	present, err := checkOrigin(r, req.own)
	if err != nil {
		return socketCaller{}, err
	}
	cookie := req.cookies[loginCookie]
	if !present && !cookie.Empty() {
		return socketCaller{}, station.Errorf(station.ErrForbidden, "no_origin",
			"A cookie without an Origin header opens no WebSocket; outside a browser use an API token instead.")
	}
	offered := subprotocols(r)
	if subprotocol != "" && !slices.Contains(offered, subprotocol) {
		return socketCaller{}, station.Errorf(station.ErrInvalid, "no_subprotocol", "Offer the WebSocket subprotocol %s.", subprotocol)
	}
	ticket := ticketOf(offered)
	switch {
	case ticket.Empty():
		p, err := g.identify(r.Context())
		if err == nil && !p.Can(auth.ScopeTerminal) {
			err = auth.ErrScope
		}
		return socketCaller{Principal: p}, err
	case req.bearer != nil:
		return socketCaller{}, station.Errorf(station.ErrInvalid, "two_credentials", "Send an API token or a ticket, not both.")
	}
	return g.spendTicket(r.Context(), ticket, cookie)
}

// spendTicket opens with a ticket. A cookie beside it must be the same user's:
// a ticket that somebody else planted in a page shall not open their session
// in this person's browser.
func (g *Gateway) spendTicket(ctx context.Context, secret, cookie auth.Secret) (socketCaller, error) {
	t, p, err := g.auth.SpendTicket(ctx, secret, station.ScopeTerminal)
	if err != nil {
		return socketCaller{}, err
	}
	if !cookie.Empty() {
		if c, err := g.auth.CheckLogin(ctx, cookie); err == nil && c.User.ID != t.User {
			return socketCaller{}, auth.ErrTicket
		}
	}
	requestOf(ctx).user = p.User.ID
	return socketCaller{p, &t}, nil
}

// checkUpgrade refuses with a problem document what the WebSocket library would
// refuse in plain text (RFC 6455 section 4.2.1).
func checkUpgrade(r *http.Request) error {
	if !headerHas(r.Header, "Connection", "upgrade") || !headerHas(r.Header, "Upgrade", "websocket") {
		return &problem{Status: http.StatusUpgradeRequired, Code: "upgrade_required", Detail: "This address speaks WebSocket only; open it with a WebSocket client."}
	}
	if r.Header.Get("Sec-WebSocket-Version") != "13" || len(r.Header.Values("Sec-WebSocket-Key")) != 1 {
		return station.Errorf(station.ErrInvalid, "bad_upgrade", "The WebSocket handshake is malformed; use version 13 (RFC 6455).")
	}
	return nil
}

func headerHas(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

func subprotocols(r *http.Request) []string {
	var out []string
	for _, v := range r.Header.Values("Sec-WebSocket-Protocol") {
		for part := range strings.SplitSeq(v, ",") {
			out = append(out, strings.TrimSpace(part))
		}
	}
	return out
}

func ticketOf(offered []string) auth.Secret {
	for _, p := range offered {
		if t, ok := strings.CutPrefix(p, wire.TicketPrefix); ok && t != "" {
			return auth.NewSecret(t)
		}
	}
	return auth.Secret{}
}

// accept upgrades. The Origin was judged before; the library's own check would
// refuse a public origin behind a proxy.
func accept(w http.ResponseWriter, r *http.Request, subprotocol string) (*websocket.Conn, error) {
	o := &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled}
	if subprotocol != "" {
		o.Subprotocols = []string{subprotocol} // never the ticket's
	}
	if c := connOf(r.Context()); c != nil {
		// A pong that has to wait behind a blocked write would fail after the
		// library's 5 s and take the connection with it. Better none: the
		// client sees from the data that we live.
		o.OnPingReceived = func(context.Context, []byte) bool { return !c.writing.Load() }
	}
	return websocket.Accept(w, r, o)
}

// closeClient says goodbye within patience, however the client behaves.
func closeClient(conn *websocket.Conn, raw *watchedConn, why ending, patience time.Duration) {
	if raw != nil {
		force := time.AfterFunc(patience, func() { raw.Close() })
		defer force.Stop()
	}
	conn.Close(why.code, why.reason) // an error says that it is closed already
}
