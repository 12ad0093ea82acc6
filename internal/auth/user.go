package auth

import (
	"context"

	"staithe/internal/station"
)

// CreateUser adds a user. Without a password the answer has an invite link
// with which the person sets one; with a password it has none.
func (a *Auth) CreateUser(ctx context.Context, name string, password Secret) (station.User, *Link, error) {
	if err := station.CheckName("user", name); err != nil {
		return station.User{}, nil, err
	}
	user := station.User{ID: station.NewID(), Name: name, CreatedAt: a.stamp()}
	if password.Empty() {
		link := Link{Token: mint(""), ExpiresAt: user.CreatedAt.Add(InviteLife)}
		return user, &link, a.store.CreateInvited(ctx, user, link.Token.hash(), link.ExpiresAt)
	}
	if err := CheckPassword(password); err != nil {
		return station.User{}, nil, err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return station.User{}, nil, err
	}
	return user, nil, a.store.CreateUser(ctx, user, hash)
}

// User finds a user by id or name.
func (a *Auth) User(ctx context.Context, ref string) (station.User, error) {
	return a.store.UserByRef(ctx, ref)
}

// Users lists all users, oldest first.
func (a *Auth) Users(ctx context.Context) ([]station.User, error) { return a.store.Users(ctx) }

// SetFlags disables or enables a user and gives or takes admin rights; nil
// leaves a flag alone. Disabling ends everything the user has open.
// ErrConflict when no enabled admin would be left.
func (a *Auth) SetFlags(ctx context.Context, user station.ID, disabled, admin *bool) (station.User, error) {
	u, err := a.store.SetUserFlags(ctx, user, disabled, admin)
	if err == nil && u.Disabled {
		a.revoked(Revocation{User: user})
	}
	return u, err
}

// DeleteUser removes the account; the caller has removed what it owns.
func (a *Auth) DeleteUser(ctx context.Context, user station.ID) error {
	if err := a.store.DeleteUser(ctx, user); err != nil {
		return err
	}
	a.revoked(Revocation{User: user})
	return nil
}
