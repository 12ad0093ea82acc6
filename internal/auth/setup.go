package auth

import (
	"context"
	"errors"

	"staithe/internal/station"
)

const linkSetup, linkInvite, linkReset = "setup", "invite", "reset"

// SetupNeeded reports whether there is no admin yet.
func (a *Auth) SetupNeeded(ctx context.Context) (bool, error) {
	has, err := a.store.HasAdmin(ctx)
	return !has, err
}

// NewSetupToken makes the token of the setup link; earlier ones stop working.
func (a *Auth) NewSetupToken(ctx context.Context) (Secret, error) {
	token := mint("")
	return token, a.store.CreateLink(ctx, linkSetup, token.hash(), "", nil)
}

// Setup makes the first admin and signs the browser in. Of any number at once
// one wins; the others' error wraps ErrGone, as a wrong token's does.
func (a *Auth) Setup(ctx context.Context, token Secret, name string, password Secret, b Browser) (SignIn, error) {
	if err := a.limits.link(b.Address, a.now()); err != nil {
		return SignIn{}, err
	}
	// The token first: who has none learns nothing and costs no hashing.
	if err := a.store.LinkGood(ctx, token.hash(), a.now(), linkSetup); err != nil {
		return SignIn{}, setupSpent(err)
	}
	if err := errors.Join(station.CheckName("user", name), CheckPassword(password)); err != nil {
		return SignIn{}, firstProblem(err)
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return SignIn{}, err
	}
	user := station.User{ID: station.NewID(), Name: name, Admin: true, CreatedAt: a.stamp()}
	if err := a.store.CreateFirstAdmin(ctx, token.hash(), a.now(), user, hash); err != nil {
		return SignIn{}, setupSpent(err)
	}
	return a.signIn(ctx, user, b)
}

func setupSpent(err error) error {
	if !errors.Is(err, station.ErrGone) {
		return err
	}
	return station.Errorf(station.ErrGone, "setup_link_spent",
		"This setup link does not work (any more). If nobody has set this server up, start it again: it prints a fresh link.")
}

// firstProblem takes the first of joined errors: one sentence, not two.
func firstProblem(err error) error {
	if p, ok := errors.AsType[*station.Problem](err); ok {
		return p
	}
	return err
}
