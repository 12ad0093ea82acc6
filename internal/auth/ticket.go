package auth

import (
	"context"
	"errors"

	"staithe/internal/station"
)

// MintTicket makes a single-use ticket for one door of one of p's sessions,
// which the caller has checked to be p's. The ticket ends with p's credential.
// An empty role is owner's.
func (a *Auth) MintTicket(ctx context.Context, p Principal, session station.ID, scope station.Scope, tab station.ID, role station.Role) (station.Ticket, Secret, error) {
	if role == "" {
		role = station.RoleOwner
	}
	if !scope.Valid() {
		return station.Ticket{}, Secret{}, station.Errorf(station.ErrInvalid, "bad_scope", "scope must be terminal, mcp-bridge, preview or files.")
	}
	if !role.Valid() {
		return station.Ticket{}, Secret{}, station.Errorf(station.ErrInvalid, "bad_role", "role must be viewer, writer or owner.")
	}
	if !p.Can(string(scope)) {
		return station.Ticket{}, Secret{}, ErrScope
	}
	t := station.Ticket{ID: station.NewID(), User: p.User.ID, Session: session, Tab: tab, Scope: scope, Role: role,
		Issuer: p.Credential, ExpiresAt: a.stamp().Add(station.TicketLife)}
	secret := mint("")
	return t, secret, a.store.CreateTicket(ctx, t, secret.hash())
}

// ErrScope refuses an API token whose scopes do not cover what it asks for.
var ErrScope = station.Errorf(station.ErrForbidden, "insufficient_scope",
	"The API token's scopes do not allow this; use a token with a wider scope.")

// SpendTicket takes a ticket at a door and says who came with it. Whatever it
// was presented for, it is spent. The error wraps ErrUnauthenticated when it is
// not good for this scope now; the caller checks Session against the door.
func (a *Auth) SpendTicket(ctx context.Context, secret Secret, scope station.Scope) (station.Ticket, Principal, error) {
	t, err := a.store.SpendTicket(ctx, secret.hash(), a.now())
	if errors.Is(err, station.ErrGone) || err == nil && t.Scope != scope {
		return station.Ticket{}, Principal{}, ErrTicket
	}
	if err != nil {
		return station.Ticket{}, Principal{}, err
	}
	if err := a.Valid(ctx, t.Issuer); err != nil {
		return station.Ticket{}, Principal{}, err
	}
	u, err := a.store.User(ctx, t.User)
	if err != nil {
		return station.Ticket{}, Principal{}, err
	}
	return t, Principal{User: u, Credential: t.Issuer, Scopes: []string{string(scope)}}, nil
}

// ErrTicket refuses a ticket without saying what is wrong with it.
var ErrTicket = station.Errorf(station.ErrUnauthenticated, "bad_ticket",
	"The ticket is not good here: it was used, is out of time, or is for something else. Ask for a new one.")
