package auth

import (
	"context"
	"errors"
	"time"

	"staithe/internal/station"
)

const (
	// InviteLife is how long an invite link works.
	InviteLife = 7 * 24 * time.Hour
	// ResetLife is how long a password reset link works.
	ResetLife = time.Hour
)

// Link is a single-use link that sets a password, shown once.
type Link struct {
	Token     Secret
	ExpiresAt time.Time
}

// ResetLink makes a link with which the user sets a new password. Who never had
// one gets a fresh invite, in the place of the one that was lost.
func (a *Auth) ResetLink(ctx context.Context, user station.User) (Link, error) {
	_, hash, err := a.store.Password(ctx, user.Name)
	if err != nil {
		return Link{}, err
	}
	kind, life := linkReset, ResetLife
	if hash == "" {
		kind, life = linkInvite, InviteLife
	}
	l := Link{Token: mint(""), ExpiresAt: a.stamp().Add(life)}
	return l, a.store.CreateLink(ctx, kind, l.Token.hash(), user.ID, &l.ExpiresAt)
}

// AcceptLink spends an invite or reset link: the password is set, the user's
// logins end, the browser is signed in. invited says that it was an invite, so
// that the user is new. ErrGone when the link does not work.
func (a *Auth) AcceptLink(ctx context.Context, token, password Secret, b Browser) (in SignIn, invited bool, err error) {
	if err := a.limits.link(b.Address, a.now()); err != nil {
		return in, false, err
	}
	if err := a.store.LinkGood(ctx, token.hash(), a.now(), linkInvite, linkReset); err != nil {
		return in, false, linkSpent(err)
	}
	if err := CheckPassword(password); err != nil {
		return in, false, err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return in, false, err
	}
	user, kind, err := a.store.SpendPasswordLink(ctx, token.hash(), a.now(), hash)
	if err != nil {
		return in, false, linkSpent(err)
	}
	a.revoked(Revocation{User: user.ID})
	in, err = a.signIn(ctx, user, b)
	return in, kind == linkInvite, err
}

func linkSpent(err error) error {
	if !errors.Is(err, station.ErrGone) {
		return err
	}
	return station.Errorf(station.ErrGone, "link_spent",
		"This link does not work (any more): it was used, is out of time, or was replaced. Ask the administrator for a new one.")
}
