package gateway

import (
	"context"
	"time"

	"staithe/internal/auth"
	"staithe/internal/station"
)

type createTicketInput struct {
	SessionRef
	Body struct {
		Scope string `json:"scope" maxLength:"64" doc:"terminal, mcp-bridge, preview or files"`
		Tab   string `json:"tab,omitempty" maxLength:"64" doc:"The only tab it is for, by id or name; left out: all"`
		Role  string `json:"role,omitempty" maxLength:"64" doc:"The most it allows: viewer, writer or owner; left out: owner"`
	}
}

type newTicket struct {
	Ticket    string    `json:"ticket" doc:"Shown this once, good for one use within a minute"`
	ExpiresAt time.Time `json:"expires_at"`
}

// createTicket makes a ticket for one of the caller's own sessions.
func (g *Gateway) createTicket(ctx context.Context, c caller, in *createTicketInput) (*output[newTicket], error) {
	scope := station.Scope(in.Body.Scope)
	if scope.Valid() && !c.Can(in.Body.Scope) {
		return nil, auth.ErrScope
	}
	s, err := g.fleet.Get(ctx, c.User.ID, in.Session)
	if err != nil {
		return nil, err
	}
	tab := station.ID("")
	if in.Body.Tab != "" {
		if tab, err = g.tabID(ctx, c, s, in.Body.Tab); err != nil {
			return nil, err
		}
	}
	t, secret, err := g.auth.MintTicket(ctx, c.Principal, s.ID, scope, tab, station.Role(in.Body.Role))
	return answer(newTicket{secret.Reveal(), t.ExpiresAt}, err)
}

// tabID finds a tab's id: a ticket for a name would follow the name when
// another tab takes it.
func (g *Gateway) tabID(ctx context.Context, c caller, s station.Session, ref string) (station.ID, error) {
	guest, err := g.guest(ctx, s)
	if err != nil {
		return "", err
	}
	tabs, err := guest.Tabs(ctx, owner(c.User))
	if err != nil {
		return "", fromGuest(err)
	}
	for _, t := range tabs {
		if string(t.ID) == ref {
			return t.ID, nil
		}
	}
	for _, t := range tabs {
		if t.Name == ref && t.ID.Valid() {
			return t.ID, nil
		}
	}
	return "", station.Errorf(station.ErrNotFound, "no_tab", "There is no such tab; see the list of tabs for the right name.")
}
