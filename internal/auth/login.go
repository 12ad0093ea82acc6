package auth

import (
	"context"
	"errors"
	"time"

	"staithe/internal/station"
)

// LoginLife is how long a browser stays signed in.
const LoginLife = 30 * 24 * time.Hour

// Browser is what a browser brings to a sign-in.
type Browser struct {
	Address  Address
	Device   Secret // the device cookie, empty when there is none
	Previous Secret // the login cookie that the new one takes the place of
}

// SignIn is a fresh login: its cookies, shown once.
type SignIn struct {
	User      station.User
	Cookie    Secret
	Device    Secret // remembers the browser; see limits
	ExpiresAt time.Time
}

// Login signs a browser in. An unknown user, a user without a password and a
// wrong password have the same answer, after the same time.
func (a *Auth) Login(ctx context.Context, name string, password Secret, b Browser) (SignIn, error) {
	user, hash, err := a.store.Password(ctx, name)
	if err != nil && !errors.Is(err, station.ErrNotFound) {
		return SignIn{}, err
	}
	if err := a.admit(ctx, name, user.ID, b); err != nil {
		return SignIn{}, err
	}
	if len(password.text) > maxPassword {
		password = Secret{} // cannot be right; must not cost more
	}
	ok, err := a.hasher.matches(ctx, password, hash)
	if err != nil {
		return SignIn{}, err
	}
	if !ok {
		return SignIn{}, station.Errorf(station.ErrUnauthenticated, "wrong_login", "The user name or the password is not right; try again.")
	}
	if user.Disabled {
		return SignIn{}, station.Errorf(station.ErrForbidden, "user_disabled", "This account is disabled; ask the administrator.")
	}
	a.limits.forgive(name, b.Address)
	return a.signIn(ctx, user, b)
}

// admit takes one attempt from the limit that fits the browser.
func (a *Auth) admit(ctx context.Context, name string, user station.ID, b Browser) error {
	if !b.Device.Empty() && user != "" {
		known, err := a.store.KnownDevice(ctx, b.Device.hash(), user)
		if err != nil {
			return err
		}
		if known {
			return a.limits.fromDevice(name, b.Device.hash(), a.now())
		}
	}
	return a.limits.password(name, b.Address, a.now())
}

// signIn makes a new login in the place of the browser's previous one: a token
// that somebody planted in the browser is not the one that gets signed in.
func (a *Auth) signIn(ctx context.Context, user station.User, b Browser) (SignIn, error) {
	now := a.now()
	cookie := mint("")
	l := station.Login{ID: station.NewID(), User: user.ID, CreatedAt: now, ExpiresAt: now.Add(LoginLife)}
	if err := a.store.CreateLogin(ctx, l, cookie.hash()); err != nil {
		return SignIn{}, err
	}
	if err := a.Logout(ctx, b.Previous); err != nil {
		return SignIn{}, err
	}
	device := b.Device
	if known, err := a.knows(ctx, device, user.ID); err != nil {
		return SignIn{}, err
	} else if !known {
		device = mint("")
	}
	if err := a.store.RememberDevice(ctx, device.hash(), user.ID, now); err != nil {
		return SignIn{}, err
	}
	return SignIn{User: user, Cookie: cookie, Device: device, ExpiresAt: l.ExpiresAt}, nil
}

func (a *Auth) knows(ctx context.Context, device Secret, user station.ID) (bool, error) {
	if device.Empty() {
		return false, nil
	}
	return a.store.KnownDevice(ctx, device.hash(), user)
}

// CheckLogin says whose login a cookie is. The error wraps ErrUnauthenticated
// when it is nobody's.
func (a *Auth) CheckLogin(ctx context.Context, cookie Secret) (Principal, error) {
	if cookie.Empty() {
		return Principal{}, errSignIn
	}
	l, u, err := a.store.LoginByHash(ctx, cookie.hash())
	return a.loginPrincipal(l, u, err)
}

func (a *Auth) loginPrincipal(l station.Login, u station.User, err error) (Principal, error) {
	if errors.Is(err, station.ErrNotFound) {
		return Principal{}, errSignIn
	}
	if err != nil {
		return Principal{}, err
	}
	if u.Disabled || !a.now().Before(l.ExpiresAt) {
		return Principal{}, errSignIn
	}
	return Principal{User: u, Scopes: []string{ScopeAll},
		Credential: station.Credential{Kind: station.CredentialLogin, ID: l.ID, User: u.ID}}, nil
}

// Logout ends the login of a cookie; one that is no login any more is no error.
func (a *Auth) Logout(ctx context.Context, cookie Secret) error {
	if cookie.Empty() {
		return nil
	}
	l, u, err := a.store.LoginByHash(ctx, cookie.hash())
	if errors.Is(err, station.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.store.DeleteLogin(ctx, l.ID); err != nil {
		return err
	}
	a.revoked(Revocation{User: u.ID, Credential: l.ID})
	return nil
}
